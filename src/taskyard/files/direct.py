"""Files that clients upload to S3 and download there themselves, past the web.

A client sends the parts of a file to addresses that are signed here, each for one part of one
size. The bytes are read once when the upload is completed, because S3 has no SHA-256 of a file
that came in parts, and its other digests are the client's to choose.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models.functions import Now

from taskyard.core.conf import conf
from taskyard.core.types import UserId
from taskyard.files import content, removal, storage, writing
from taskyard.files.errors import (
    DigestMismatch,
    DirectUnavailable,
    StorageFull,
    StorageUnavailable,
    UploadGone,
    UploadIncomplete,
)
from taskyard.files.models import State, StoredFile

if TYPE_CHECKING:
    from taskyard.files.s3 import Bucket, Part

PART_BYTES = 16 * 2**20
MOST_PARTS = 1000
DOWNLOAD_SECONDS = 300


@dataclass(frozen=True)
class SignedPart:
    """Where a client sends a part of a file, with PUT and exactly ``size`` bytes."""

    number: int
    url: str
    size: int


@dataclass(frozen=True)
class DirectUpload:
    """An upload that a client has begun."""

    file: StoredFile
    part_size: int
    parts: list[SignedPart]


def begin(owner_id: UserId | None, name: str, size: int) -> DirectUpload:
    """Reserve the bytes of a file and sign the addresses of its parts.

    Raises DirectUnavailable, FileTooLarge, FileBytesExceeded, StorageFull, StorageUnavailable.
    """
    bucket = _bucket()
    file = writing.begin(owner_id, name, size=size, resumable=True)
    part_size = max(PART_BYTES, -(-size // MOST_PARTS))
    try:
        with storage.reporting():
            upload_id = bucket.begin(file.key)
            parts = [
                SignedPart(
                    number,
                    bucket.part_url(
                        file.key,
                        upload_id,
                        number=number,
                        size=(part := min(part_size, size - start)),
                        seconds=writing.UNUSED_SECONDS,
                    ),
                    part,
                )
                for number, start in enumerate(range(0, size, part_size), 1)
            ]
    except (StorageFull, StorageUnavailable):
        removal.give_up(file.pk)
        raise
    return DirectUpload(file, part_size, parts)


def complete(file: StoredFile, etags: Mapping[int, str] | None = None) -> StoredFile:
    """Make the file of its parts. A file that is whole already stays as it is.

    ``etags`` are what S3 has answered to the client, by the number of the part. Raises
    DirectUnavailable, UploadIncomplete, DigestMismatch, UploadGone, StorageFull,
    StorageUnavailable.
    """
    if file.state == State.READY:
        return file
    bucket = _bucket()
    with storage.reporting():
        _assemble(bucket, file, etags)
    try:
        digest, head = writing.digest_and_head(file.key)
    except FileNotFoundError:
        raise UploadGone from None
    with transaction.atomic():
        rows = StoredFile.objects.select_for_update(of=("self",)).filter(pk=file.pk)
        row = rows.filter(state__in=(State.WRITING, State.READY)).first()
        if row is None:
            raise UploadGone
        # Another request may have completed it meanwhile.
        if row.state == State.WRITING:
            rows.update(
                state=State.READY,
                received=file.size,
                sha256=digest,
                content_type=content.type_of(row.name, head),
                expires_at=Now() + timedelta(seconds=writing.UNUSED_SECONDS),
            )
    return StoredFile.objects.get(pk=file.pk)


def download_url(file: StoredFile, *, disposition: str, content_type: str) -> str | None:
    """Where a client may download the file for five minutes; None if only here.

    S3 sends the two headers as they are given. Raises FileNotFoundError, StorageUnavailable.
    """
    if not conf().FILES_DIRECT or (bucket := storage.bucket()) is None:
        return None
    headers = {
        "ResponseContentDisposition": disposition,
        "ResponseContentType": content_type,
        "ResponseCacheControl": "private, no-store",
    }
    storage.find(file.key)  # S3 would say in XML that they are lost
    with storage.reporting():
        return bucket.download_url(file.key, headers, seconds=DOWNLOAD_SECONDS)


def _bucket() -> "Bucket":
    bucket = storage.bucket() if conf().FILES_DIRECT else None
    if bucket is None:
        raise DirectUnavailable
    return bucket


def _assemble(bucket: "Bucket", file: StoredFile, etags: Mapping[int, str] | None) -> None:
    """Make an object of the parts, unless an earlier request has.

    Raises UploadIncomplete, DigestMismatch, UploadGone.
    """
    uploads = {
        each: parts
        for each in bucket.uploads(file.key)
        if (parts := bucket.parts(file.key, each)) is not None
    }
    if not uploads:
        if bucket.size(file.key) != file.size:
            raise UploadGone
        return
    # More than one if the answer to a try to begin was lost; the client knows one of them.
    upload_id, parts = max(uploads.items(), key=lambda each: _size_of(each[1]))
    received = _size_of(parts)
    if received != file.size:
        raise UploadIncomplete(size=file.size, received=received)
    if etags is not None and etags != {part.number: part.etag.strip('"') for part in parts}:
        raise DigestMismatch
    bucket.complete(file.key, upload_id, parts)


def _size_of(parts: "list[Part]") -> int:
    return sum(part.size for part in parts)
