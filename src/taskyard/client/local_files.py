"""Files of this machine: those that are uploaded, and those that downloads are written to."""

import hashlib
import io
import os
import re
import tempfile
import unicodedata
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from taskyard.client.errors import TransferFailed
from taskyard.client.file_lock import try_lock

READ_BYTES = 2**20
# File systems allow 255 bytes; a download has a longer name until it is whole.
LONGEST_NAME = 240
# It neither renames nor deletes an open file. Elsewhere another download may take a closed one.
IS_WINDOWS = os.name == "nt"
UNNAMED = "file"
_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


def clean_name(name: str) -> str:
    """The last part of a path without control signs, which is safe as a name in a folder.

    The server cleans names too, but no answer of a server may lead out of a folder.
    """
    name = unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])
    name = "".join(sign for sign in name if unicodedata.category(sign)[0] != "C")
    name = _FORBIDDEN.sub("_", name).strip(" .")
    if not name or _RESERVED.fullmatch(name):
        name = f"{UNNAMED}_{name}".rstrip("_")
    stem, extension = os.path.splitext(name)
    if len(extension.encode()) > 20:
        stem, extension = name, ""
    kept = stem.encode()[: LONGEST_NAME - len(extension.encode())]
    return kept.decode(errors="ignore") + extension


def target_of(path: str | os.PathLike[str] | None, name: str) -> Path:
    """Where a download goes: this path, or the cleaned name in it if it is a folder.

    A text that ends with a slash is a folder, which is made if necessary; None is the current
    folder.
    """
    if path is None:
        return Path(clean_name(name))
    if os.fspath(path).endswith(("/", os.sep)):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path) / clean_name(name) if Path(path).is_dir() else Path(path)


class Source:
    """Bytes to upload: `with Source(path) as source`.

    They are read again from any offset, and hashed when they are first read. A stream that cannot
    seek is copied to a temporary file.
    """

    def __init__(
        self, source: str | os.PathLike[str] | bytes | IO[bytes], name: str | None = None
    ) -> None:
        self._owned = not hasattr(source, "read")
        if isinstance(source, bytes):
            self._stream: IO[bytes] = io.BytesIO(source)
        elif isinstance(source, str | os.PathLike):
            self._stream = Path(source).open("rb")  # noqa: SIM115
            name = name or Path(source).name
        elif source.seekable():
            self._stream = source
        else:
            self._owned = True
            self._stream = _copied(source)
        # The name of a stream is a number if it was opened from a descriptor.
        given: Any = getattr(source, "name", None)
        name = name or (Path(given).name if isinstance(given, str) else UNNAMED)
        self.name = name.encode(errors="replace").decode()
        self._start = self._stream.tell()
        self.size = self._stream.seek(0, os.SEEK_END) - self._start
        self._digest = hashlib.sha256()
        self._hashed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._owned:
            self._stream.close()

    def read(self, offset: int, size: int) -> bytes:
        """Read up to ``size`` bytes. Raises TransferFailed if the file has become shorter."""
        self._stream.seek(self._start + offset)
        data = self._stream.read(size)
        if not data:
            raise TransferFailed(f"{self.name}: the file changed during the upload")
        if offset <= self._hashed < offset + len(data):
            self._digest.update(data[self._hashed - offset :])
            self._hashed = offset + len(data)
        return data

    @property
    def sha256(self) -> str:
        """The digest of what was read."""
        return self._digest.hexdigest()


def _copied(stream: IO[bytes]) -> IO[bytes]:
    copy: Any = tempfile.TemporaryFile()  # noqa: SIM115
    while data := stream.read(READ_BYTES):
        copy.write(data)
    copy.seek(0)
    return copy  # type: ignore[no-any-return]


class PartFile:
    """The first bytes of a download: `with PartFile(target, size) as part`.

    They are in `<target>.part`, also from an earlier download that was interrupted, until
    ``complete`` renames it. One download at a time has the part.
    """

    def __init__(self, target: Path, size: int) -> None:
        """Raises TransferFailed while another download has the part, OSError."""
        self.target = target
        self.expected = size
        self._path = target.with_name(f"{target.name}.part")
        self._stream = self._open_alone()
        self.size = 0
        self._digest = hashlib.sha256()
        while data := self._stream.read(READ_BYTES):
            self._digest.update(data)
            self.size += len(data)
        if self.size > size:
            self.restart()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, data: bytes) -> None:
        """Append bytes. Raises TransferFailed if there are more than expected."""
        if self.size + len(data) > self.expected:
            raise TransferFailed(f"{self.target}: the server sent more bytes than the file has")
        self._stream.write(data)
        self._digest.update(data)
        self.size += len(data)

    def restart(self) -> None:
        """Drop all bytes."""
        self._stream.truncate(0)
        self._digest = hashlib.sha256()
        self.size = 0

    def complete(self) -> Path:
        """Rename and close the file; it replaces a file of this name."""
        self._stream.flush()
        if IS_WINDOWS:
            self._stream.close()
        self._path.replace(self.target)
        self._stream.close()
        return self.target

    def delete(self) -> None:
        if IS_WINDOWS:
            self._stream.close()
        self._path.unlink(missing_ok=True)
        self._stream.close()

    def _open_alone(self) -> IO[bytes]:
        while True:
            stream = self._path.open("a+b")
            stream.seek(0)
            try:
                is_ours = try_lock(stream.fileno())
            except OSError:
                is_ours = True  # a network file system without locks
            if not is_ours:
                stream.close()
                raise TransferFailed(f"{self.target}: another download is writing this file")
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(stream.fileno()), self._path.stat()):
                    return stream
            stream.close()  # another download has just ended, and renamed or deleted it
