"""Files in S3, or in a storage that speaks its protocol: django-storages' S3Storage.

That storage reads a whole object into memory, and completes an upload also when its writer fails.
So objects are read and written here, in bounded memory, by the client of the storage.
"""

import errno
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ReadTimeoutError,
)
from django.core.files.storage import Storage
from storages.backends.s3 import S3Storage

from taskyard.files.errors import UploadGone

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

# An upload has at most 10,000 parts, and each but the last has 5 MiB or more.
PART_BYTES = 8 * 2**20
MOST_PARTS = 10_000
READ_BYTES = 2**20
# A download whose connection breaks goes on where it was.
READ_TRIES = 3

MAY_NOT = (
    "the credentials may not do this: they need s3:GetObject, PutObject, DeleteObject and "
    "AbortMultipartUpload on the objects, s3:ListBucket and ListBucketMultipartUploads on the "
    "bucket"
)
EXPIRED = "the credentials have expired; give new ones"
REGION = "the bucket is in another region; name it as region_name in TASKYARD_FILES_URL"
HINTS = {
    "403": MAY_NOT,
    "AccessDenied": MAY_NOT,
    "ExpiredToken": EXPIRED,
    "ExpiredTokenException": EXPIRED,
    "TokenRefreshRequired": EXPIRED,
    "InvalidAccessKeyId": "it does not know the access key",
    "SignatureDoesNotMatch": "the secret key is not that of the access key",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
    "NoSuchBucket": "create the bucket, or correct its name",
    "301": REGION,
    "PermanentRedirect": REGION,
    "AuthorizationHeaderMalformed": REGION,
}
# Of MinIO, Ceph and others; AWS itself is never full.
FULL = frozenset(
    {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "StorageFull"}
)


class Part(NamedTuple):
    """A part of an upload that S3 has received."""

    number: int
    etag: str
    size: int


def bucket_of(storage: Storage) -> "Bucket | None":
    """The bucket of a storage, or None if it is not in S3."""
    return Bucket(storage) if isinstance(storage, S3Storage) else None


class Bucket:
    """The objects of a storage, by the keys of files."""

    def __init__(self, storage: S3Storage) -> None:
        self.name: str = storage.bucket_name
        self._storage = storage

    @property
    def is_public(self) -> bool:
        """Whether the storage is set up to show its objects without credentials."""
        acl, storage = self._storage.default_acl or "", self._storage
        return acl.startswith(("public-", "authenticated-")) or not storage.querystring_auth

    @property
    def client(self) -> "S3Client":
        """A client of this thread."""
        return cast("S3Client", self._storage.connection.meta.client)

    def at(self, key: str) -> dict[str, Any]:
        """Where the file is, as the client's methods take it."""
        location = self._storage.location.strip("/")
        return {"Bucket": self.name, "Key": f"{location}/{key}" if location else key}

    def parameters(self, key: str) -> dict[str, Any]:
        """What a new object is made with, such as an encryption that the host has chosen."""
        chosen = {"ContentType": "application/octet-stream"}
        if self._storage.default_acl:
            chosen["ACL"] = self._storage.default_acl
        return {**chosen, **self._storage.get_object_parameters(key)}

    def create(self, key: str, *, at_most: int) -> "Upload":
        """Begin a file of up to ``at_most`` bytes; one part of it is in memory."""
        return Upload(self, key, part_bytes=max(PART_BYTES, -(-at_most // MOST_PARTS)))

    def open(self, key: str) -> BinaryIO:
        """Open a file for reading. Raises FileNotFoundError."""
        size = self.head(key)["ContentLength"]
        return cast("BinaryIO", io.BufferedReader(Download(self, key, size), READ_BYTES))

    def head(self, key: str) -> "HeadObjectOutputTypeDef":
        """What S3 says of an object. Raises FileNotFoundError."""
        try:
            return self.client.head_object(**self.at(key))
        except ClientError as error:
            if status_of(error) != 404:
                raise
        # The answer has no body that could say what is missing.
        self.client.head_bucket(Bucket=self.name)
        raise FileNotFoundError(errno.ENOENT, "no such object", key)

    def size(self, key: str) -> int | None:
        """The bytes of a file, or None if there is no such object."""
        try:
            return self.head(key)["ContentLength"]
        except FileNotFoundError:
            return None

    def begin(self, key: str) -> str:
        """Begin an upload in parts; its id."""
        return self.client.create_multipart_upload(**self.at(key), **self.parameters(key))[
            "UploadId"
        ]

    def part_url(self, key: str, upload_id: str, *, number: int, size: int, seconds: int) -> str:
        """Where a client without credentials may PUT a part of this size."""
        place = {**self.at(key), "UploadId": upload_id, "PartNumber": number}
        return self.client.generate_presigned_url(
            "upload_part", Params={**place, "ContentLength": size}, ExpiresIn=seconds
        )

    def download_url(self, key: str, headers: dict[str, str], *, seconds: int) -> str:
        """Where a client without credentials may GET the file, with these headers."""
        return self.client.generate_presigned_url(
            "get_object", Params={**self.at(key), **headers}, ExpiresIn=seconds
        )

    def complete(self, key: str, upload_id: str, parts: list[Part]) -> None:
        """Make an object of the parts. Raises UploadGone if the upload was deleted meanwhile."""
        listed = [{"PartNumber": part.number, "ETag": part.etag} for part in parts]
        try:
            self.client.complete_multipart_upload(
                **self.at(key),
                UploadId=upload_id,
                MultipartUpload=cast("Any", {"Parts": listed}),
            )
        except ClientError as error:
            if code_of(error) != "NoSuchUpload":
                raise
            size = self.size(key)
            if size is None:
                raise UploadGone from error
            # The answer to an earlier try was lost.
            if size != sum(part.size for part in parts):
                raise
        self.abort(key)  # a try to begin whose answer was lost

    def uploads(self, key: str) -> Iterator[str]:
        """The ids of the uploads of a file that were begun and neither completed nor aborted."""
        place = self.at(key)
        pages = self.client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self.name, Prefix=place["Key"]
        )
        for page in pages:
            for upload in page.get("Uploads", ()):
                if upload["Key"] == place["Key"]:
                    yield upload["UploadId"]

    def parts(self, key: str, upload_id: str) -> list[Part] | None:
        """The parts of an upload, by ascending number; None if there is no such upload any more."""
        pages = self.client.get_paginator("list_parts").paginate(**self.at(key), UploadId=upload_id)
        try:
            return [
                Part(part["PartNumber"], part["ETag"], part["Size"])
                for page in pages
                for part in page.get("Parts", ())
            ]
        except ClientError as error:
            if code_of(error) != "NoSuchUpload":
                raise
            return None

    def abort(self, key: str) -> None:
        """Delete the parts of uploads that were not completed."""
        for upload_id in list(self.uploads(key)):
            try:
                self.client.abort_multipart_upload(**self.at(key), UploadId=upload_id)
            except ClientError as error:
                if code_of(error) != "NoSuchUpload":
                    raise

    def explain(self, error: Exception) -> tuple[bool, str]:
        """Whether S3 is full, and what the log says of the error."""
        server = self.client_address()
        match error:
            case ClientError():
                code, hint = code_of(error), HINTS.get(code_of(error))
                action = getattr(error, "operation_name", "")
                said = error.response.get("Error", {}).get("Message", "")
                why = f"S3 at {server} refuses {action}: {code}: {hint or said}"
                return code in FULL or status_of(error) == 507, f"{why} (bucket {self.name})"
            case NoCredentialsError():
                return False, (
                    "S3 needs credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                    "TASKYARD_FILES_ACCESS_KEY and TASKYARD_FILES_SECRET_KEY, or a role"
                )
            case EndpointConnectionError() | ConnectTimeoutError():
                return False, f"S3 at {server} cannot be reached"
            case ReadTimeoutError():
                return False, f"S3 at {server} does not answer in time"
            case ConnectionClosedError():
                return False, f"S3 at {server} takes nothing and closes the connection"
            case BotoCoreError():
                return False, f"S3 at {server}: {error}"
        return False, f"{type(error).__name__}: {error}"

    def client_address(self) -> str:
        """The address of the server, for a message."""
        return self._storage.endpoint_url or self.client.meta.endpoint_url


class Upload:
    """A file that is written. It exists when it is closed; ``abort`` leaves nothing.

    The object is no ``io`` stream, because Python closes a stream that is forgotten.
    """

    def __init__(self, bucket: Bucket, key: str, *, part_bytes: int) -> None:
        self._bucket = bucket
        self._key = key
        self._part_bytes = part_bytes
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._parts: list[Part] = []

    def write(self, data: bytes) -> None:
        # All parts but the last have the same size, as some servers want it.
        rest = memoryview(data)
        while rest:
            taken = rest[: self._part_bytes - len(self._buffer)]
            self._buffer += taken
            rest = rest[len(taken) :]
            if len(self._buffer) == self._part_bytes:
                self._send()

    def close(self) -> None:
        client = self._bucket.client
        if self._upload_id is None:
            place, parameters = self._bucket.at(self._key), self._bucket.parameters(self._key)
            client.put_object(**place, **parameters, Body=bytes(self._buffer))
            return
        if self._buffer:
            self._send()
        self._bucket.complete(self._key, self._upload_id, self._parts)

    def abort(self) -> None:
        self._buffer = bytearray()
        if self._upload_id is not None:
            self._bucket.client.abort_multipart_upload(
                **self._bucket.at(self._key), UploadId=self._upload_id
            )

    def _send(self) -> None:
        if self._upload_id is None:
            self._upload_id = self._bucket.begin(self._key)
        number = len(self._parts) + 1
        sent = self._bucket.client.upload_part(
            **self._bucket.at(self._key),
            UploadId=self._upload_id,
            PartNumber=number,
            Body=bytes(self._buffer),
        )
        self._parts.append(Part(number, sent["ETag"], len(self._buffer)))
        self._buffer = bytearray()


class Download(io.RawIOBase):
    """The bytes of an object, from the place that was sought. Errors are OSError."""

    def __init__(self, bucket: Bucket, key: str, size: int) -> None:
        self._bucket = bucket
        self._key = key
        self._size = size
        self._position = 0
        self._body: Any = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("a place before the first byte")
        if start + offset != self._position:
            self._drop()
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._size or not len(buffer):
            return 0
        for left in reversed(range(READ_TRIES)):
            try:
                data = self._read(len(buffer))
            except (BotoCoreError, HTTPClientError, ClientError) as error:
                self._drop()
                if left and not isinstance(error, ClientError):
                    continue
                _, why = self._bucket.explain(error)
                raise OSError(errno.EIO, why) from error
            break
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._drop()
        super().close()

    def _read(self, size: int) -> bytes:
        if self._body is None:
            answer = self._bucket.client.get_object(
                **self._bucket.at(self._key), Range=f"bytes={self._position}-"
            )
            self._body = answer["Body"]
        data: bytes = self._body.read(size)
        if not data:
            raise HTTPClientError(error="the connection ended too early")
        return data

    def _drop(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()


def code_of(error: ClientError) -> str:
    """S3's code of a refusal, such as AccessDenied; the status if the answer had no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
