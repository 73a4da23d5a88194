"""The headers of uploads: Repr-Digest (RFC 9530), and those of resumable uploads.

The latter are of draft-ietf-httpbis-resumable-upload.
"""

import base64
import binascii
import re
from dataclasses import dataclass

from django.http import HttpRequest

from taskyard.core.errors import Rejected

_NUMBER = re.compile(r"[0-9]{1,15}")
_SHA256 = re.compile(r"\s*sha-256\s*=\s*:([A-Za-z0-9+/=]{1,100}):\s*")
_BOOLEANS = {"?0": False, "?1": True}


class HeaderInvalid(Rejected):
    """A header of an upload is wrong, for a reason (``code``)."""

    code = "upload_headers_invalid"

    def __init__(self, code: str) -> None:
        super().__init__()
        self.code = code


@dataclass(frozen=True)
class UploadHeaders:
    """``completes`` is None without Upload-Complete; ``sha256`` is in hexadecimal digits."""

    completes: bool | None
    length: int | None
    offset: int | None
    sha256: str | None


def parse(request: HttpRequest) -> UploadHeaders:
    """Raises HeaderInvalid."""
    completes = request.META.get("HTTP_UPLOAD_COMPLETE")
    if completes is not None and completes not in _BOOLEANS:
        raise HeaderInvalid("upload_headers_invalid")
    return UploadHeaders(
        None if completes is None else _BOOLEANS[completes],
        _number(request, "HTTP_UPLOAD_LENGTH"),
        _number(request, "HTTP_UPLOAD_OFFSET"),
        _sha256(request.META.get("HTTP_REPR_DIGEST")),
    )


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.META.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise HeaderInvalid("upload_headers_invalid")
    return int(text)


def _sha256(text: str | None) -> str | None:
    """The SHA-256 of a header; others are ignored."""
    if text is None or len(text) > 1000:
        return None
    for entry in text.split(","):
        if not entry.strip().lower().startswith("sha-256"):
            continue
        match = _SHA256.fullmatch(entry)
        try:
            digest = base64.b64decode(match[1], validate=True) if match else b""
        except binascii.Error:
            digest = b""
        if len(digest) != 32:
            raise HeaderInvalid("digest_invalid")
        return digest.hex()
    return None
