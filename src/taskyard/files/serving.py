"""Answer a request for a file's bytes: always an attachment, never a page (RFC 9110, 6266, 9530).

A browser must not run what a user has uploaded: the type is one of a few that cannot run, and the
headers say so again.
"""

import base64
import re
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header

from taskyard.files.content import OCTETS
from taskyard.files.models import StoredFile

HARMLESS = frozenset(
    (
        *("application/gzip", "application/json", "application/pdf", "application/zip"),
        *("audio/mpeg", "audio/ogg", "audio/wav", "image/gif", "image/jpeg", "image/png"),
        *("image/webp", "text/csv", "text/plain", "video/mp4", "video/webm"),
    )
)
_RANGE = re.compile(r"bytes=([0-9]{0,100})-([0-9]{0,100})")


@dataclass(frozen=True)
class Part:
    """The bytes of a file that a request asks for."""

    start: int
    size: int


def respond(request: HttpRequest, file: StoredFile) -> tuple[HttpResponseBase, Part | None]:
    """The response without its body, and the part that is the body; None if there is none.

    The status is 200, 206, 304, 412 or 416.
    """
    etag = f'"{file.sha256}"'
    whole = HttpResponse(content_type=_served_type(file), headers=_headers(file, etag))
    conditional = get_conditional_response(request, etag=etag, response=whole) or whole
    if conditional is not whole:
        return conditional, None
    asked = request.META.get("HTTP_RANGE") if request.method == "GET" else None
    if asked is None or request.META.get("HTTP_IF_RANGE", etag) != etag:
        return whole, Part(0, file.size)
    match = _RANGE.fullmatch(asked.strip())
    if match is None or not _is_range(match):
        return whole, Part(0, file.size)  # several ranges, or none that we know
    part = _part(match, file.size)
    if part is None:
        whole.status_code = 416
        whole.headers["Content-Range"] = f"bytes */{file.size}"
        return whole, None
    whole.status_code = 206
    last = part.start + part.size - 1
    whole.headers["Content-Range"] = f"bytes {part.start}-{last}/{file.size}"
    return whole, part


def _headers(file: StoredFile, etag: str) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(file.sha256)).decode()
    return {
        "Content-Disposition": content_disposition_header(True, file.name) or "attachment",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Repr-Digest": f"sha-256=:{digest}:",
        "Cache-Control": "private, no-cache",
    }


def _served_type(file: StoredFile) -> str:
    if file.content_type not in HARMLESS:
        return OCTETS
    is_text = file.content_type.startswith("text/")
    return f"{file.content_type}; charset=utf-8" if is_text else file.content_type


def _is_range(match: re.Match[str]) -> bool:
    first, last = match.groups()
    if not first or not last:
        return bool(first or last)
    return int(first) <= int(last)


def _part(match: re.Match[str], size: int) -> Part | None:
    """The bytes of a range; None if the file has none of them."""
    first, last = match.groups()
    if not first:
        suffix = min(int(last), size)
        return Part(size - suffix, suffix) if suffix else None
    start = int(first)
    end = min(int(last), size - 1) if last else size - 1
    return Part(start, end - start + 1) if start < size else None
