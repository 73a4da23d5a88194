"""The bytes of files, in the storage ``taskyard`` of Django's STORAGES: a folder, S3 or another.

Every failure of the storage is StorageFull or StorageUnavailable, and is logged with its cause.
"""

import errno
import fcntl
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast
from uuid import uuid4

from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage, storages

from taskyard.core.errors import Rejected
from taskyard.files.errors import StorageFull, StorageUnavailable, UploadActive

if TYPE_CHECKING:
    from taskyard.files.s3 import Bucket

ALIAS = "taskyard"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
logger = logging.getLogger(__name__)


class Target(Protocol):
    """A new file. Outside a folder it does not exist before it is closed."""

    def write(self, data: bytes, /) -> object: ...

    def close(self) -> None: ...


def storage() -> Storage:
    """The storage of files."""
    return storages[ALIAS]


def folder() -> Path | None:
    """The folder with the files, or None if they are elsewhere."""
    current = storage()
    return Path(current.location) if isinstance(current, FileSystemStorage) else None


def bucket() -> "Bucket | None":
    """The S3 bucket with the files, or None if they are elsewhere."""
    current = storage()
    if "storages.backends.s3" not in sys.modules:
        return None
    from taskyard.files.s3 import bucket_of  # imports boto3

    return bucket_of(current)


def new_key() -> str:
    """A key that no file has. It says nothing of the owner or the name."""
    text = uuid4().hex
    return f"{text[:2]}/{text}"


def create(key: str, *, at_most: int) -> Target:
    """Open a new file for writing up to ``at_most`` bytes.

    Raises UploadActive while another request writes it.
    """
    with reporting():
        if root := folder():
            path = root / key
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return _open_alone(path, 0, os.O_CREAT)
        if in_s3 := bucket():
            return in_s3.create(key, at_most=at_most)
        return _Spool(key)


def reopen(key: str, offset: int) -> Target:
    """Open a file in the folder to go on at ``offset``.

    Raises UploadActive while another request writes it, FileNotFoundError.
    """
    with reporting():
        return _open_alone(cast("Path", folder()) / key, offset)


def flush(target: Target) -> None:
    """Give the written bytes to the system, so that they outlive this process; in a folder only."""
    if folder():
        with reporting():
            cast("BinaryIO", target).flush()


def settle(target: Target) -> bool:
    """Make the written bytes safe, on the disk or in the storage; whether the file is closed.

    A file in the folder stays open, so that no other request writes it.
    """
    with reporting():
        if not folder():
            target.close()
            return True
        stream = cast("BinaryIO", target)
        stream.flush()
        stream.truncate()
        os.fsync(stream.fileno())
        try:
            _sync_folder(Path(stream.name).parent)
        except FileNotFoundError as error:
            raise OSError(f"a folder was deleted while it was written: {error}") from error
        return False


def close(target: Target) -> None:
    """Close a file that was written, when its bytes are safe."""
    if not settle(target):
        target.close()


def abandon(target: Target) -> None:
    """Close a file as it is. The sweep deletes what stays of one that was not settled."""
    with suppress(Exception):  # each storage has errors of its own
        getattr(target, "abort", target.close)()


def read(key: str) -> BinaryIO:
    """Open a file for reading. Raises FileNotFoundError if its bytes are lost."""
    with _noting_loss(key), reporting():
        if in_s3 := bucket():
            return in_s3.open(key)
        return cast("BinaryIO", storage().open(key, "rb"))


def find(key: str) -> None:
    """Raise FileNotFoundError if the bytes of a file are lost."""
    with _noting_loss(key):
        size(key)


def read_piece(stream: BinaryIO, size: int) -> bytes:
    """Read at most ``size`` bytes; some storages find only now that they have no such file."""
    with reporting():
        return stream.read(size)


def size(key: str) -> int:
    """How many bytes a file has. Raises FileNotFoundError."""
    with reporting():
        if in_s3 := bucket():
            return in_s3.head(key)["ContentLength"]
        try:
            return storage().size(key)
        except NotImplementedError:  # a storage need not know it
            with storage().open(key, "rb") as stream:
                return sum(map(len, iter(lambda: stream.read(2**20), b"")))


def written_at(key: str) -> datetime:
    """When a file was written last. Raises FileNotFoundError."""
    with reporting():
        if in_s3 := bucket():
            return in_s3.head(key)["LastModified"]
        return storage().get_modified_time(key)


def delete(key: str, *, is_whole: bool = True) -> None:
    """Delete the bytes, if there are any; also those of a writer that has died."""
    with reporting():
        if not is_whole and (in_s3 := bucket()):
            in_s3.abort(key)
        storage().delete(key)


def forget_parts(key: str) -> None:
    """Delete what an earlier request has sent of a file to S3; the request can send no more."""
    if in_s3 := bucket():
        with reporting():
            in_s3.abort(key)


def keys() -> Iterator[str]:
    """The keys of all files in the storage, for a reconciliation."""
    folders, _ = _listed("")
    for name in folders:
        _, files = _listed(name)
        yield from (f"{name}/{file}" for file in files)


def try_out() -> None:
    """Write, read and delete a small file. Raises StorageFull, StorageUnavailable."""
    key, data = new_key(), b"taskyard"
    target = create(key, at_most=len(data))
    try:
        with reporting():
            target.write(data)
        close(target)
        with read(key) as stream, reporting():
            if stream.read() != data:
                raise OSError("the storage gives back other bytes than were written")
    finally:
        delete(key)


@contextmanager
def reporting() -> Iterator[None]:
    """Raise StorageFull or StorageUnavailable for a failure of the storage."""
    try:
        yield
    except (FileNotFoundError, Rejected):
        raise
    except Exception as error:  # each storage has errors of its own
        is_full, why = explain(error)
        logger.error("storage failed", extra={"why": why})
        raise (StorageFull if is_full else StorageUnavailable)() from error


def explain(error: Exception) -> tuple[bool, str]:
    """Whether the storage is full, and what the log says of the error."""
    # Before OSError, which some errors of boto3 are too.
    if in_s3 := bucket():
        return in_s3.explain(error)
    if isinstance(error, OSError):
        return error.errno in FULL, str(error)
    return False, f"{type(error).__name__}: {error}"


def _listed(path: str) -> tuple[list[str], list[str]]:
    """The folders and files in a folder; none if it does not exist, as before the first file."""
    try:
        with reporting():
            return storage().listdir(path)
    except FileNotFoundError:
        return [], []


@contextmanager
def _noting_loss(key: str) -> Iterator[None]:
    """Log that bytes are missing. Without the whole folder the storage is away, and nothing lost.

    Raises StorageUnavailable.
    """
    try:
        yield
    except FileNotFoundError as error:
        root = folder()
        if root is not None and not root.exists():
            logger.error("storage failed", extra={"why": f"there is no folder {root}"})
            raise StorageUnavailable from error
        logger.error("bytes of a file are missing", extra={"key": key})
        raise


class _Spool:
    """A file for a storage that takes only whole files: kept in a temporary one until then."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._file = TemporaryFile()  # noqa: SIM115  # closed by close and abort

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def close(self) -> None:
        with self._file:
            self._file.seek(0)
            name = storage().save(self._key, File(self._file, name=self._key))
        if name != self._key:
            storage().delete(name)
            raise OSError(f"the storage gives the file {self._key} another name, {name}")

    def abort(self) -> None:
        self._file.close()


def _sync_folder(path: Path) -> None:
    """Make the names in a folder safe on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_alone(path: Path, offset: int, flags: int = 0) -> BinaryIO:
    """Open a file for writing at ``offset``, unless another open file writes it.

    What lies behind is cut off when the file is closed. Raises FileNotFoundError also if the file
    ends before the offset.
    """

    def opened(name: str, _: int) -> int:
        return os.open(name, os.O_WRONLY | flags, 0o600)

    stream = cast("BinaryIO", open(path, "wb", opener=opened))  # noqa: SIM115
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise UploadActive from None
    except OSError:
        pass  # a network file system without locks
    if os.fstat(stream.fileno()).st_size < offset:
        stream.close()
        raise FileNotFoundError(path)
    stream.seek(offset)
    return stream
