"""Files in signatures: ``InputFile`` and ``OutputFile``. In JSON a file is its id, an integer.

A parameter ``image: InputFile`` takes any file of the task's owner. ``Accepts`` restricts it:
``Annotated[InputFile, Accepts("image/png", "image/jpeg", max_bytes=10_000_000)]``.
"""

import hashlib
import io
import mimetypes
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, is_dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, RootModel
from pydantic.errors import PydanticUserError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

# The format of a file's id in JSON Schema.
FORMAT = "taskyard-file"
LARGEST_ID = 2**63 - 1
# The files that one task uses, and those that it saves.
MOST_FILES = 1000
# Files are copied in pieces of so many bytes.
PIECE = 2**20


class Stream(Protocol):
    """A stream of bytes; it may have ``seekable`` and ``seek``."""

    def read(self, size: int = -1, /) -> bytes | None: ...


# What a handler saves as a file: the path of one, its bytes, or a stream of them.
Source = str | os.PathLike[str] | bytes | bytearray | memoryview | Stream


class StorageError(OSError):
    """The storage of files cannot be read or written now; ``code`` is the reason.

    If a handler lets it through, the task is tried again after a pause.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class About(NamedTuple):
    """What is known of a stored file; ``size`` is in bytes, ``sha256`` in hexadecimal digits."""

    name: str
    content_type: str
    size: int
    sha256: str


class Bytes(Protocol):
    """Where an input file is read from; a worker has one for each attempt."""

    def about(self, file_id: int) -> About: ...

    def open(self, file_id: int) -> AbstractContextManager[BinaryIO]: ...

    def path(self, file_id: int) -> Path: ...


class FileId:
    """A file, which JSON and its schema represent by the id."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return _id_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "integer", "format": FORMAT, "minimum": 1}


class InputFile(FileId):
    """A file that the user has uploaded.

    It is read in the handler, each time by ``open`` from the storage, or by ``path`` from a local
    copy. The id alone is known until then.
    """

    def __init__(self, id: int) -> None:
        self.id = id
        self.accepts: Accepts | None = None
        self.source: Bytes | None = None

    @property
    def name(self) -> str:
        """The name that the user gave the file, without folders."""
        return self._source.about(self.id).name

    @property
    def content_type(self) -> str:
        """The media type by the first bytes and the name. It may be wrong: bytes can lie."""
        return self._source.about(self.id).content_type

    @property
    def size(self) -> int:
        """In bytes."""
        return self._source.about(self.id).size

    @property
    def sha256(self) -> str:
        """The digest of the bytes, in hexadecimal digits."""
        return self._source.about(self.id).sha256

    def open(self) -> AbstractContextManager[BinaryIO]:
        """Open the file for reading bytes: ``with image.open() as stream``.

        Raises StorageError if the storage cannot be read, Fail if it has lost the bytes.
        """
        return self._source.open(self.id)

    @property
    def path(self) -> Path:
        """A local copy, for libraries that want a path. It is deleted when the attempt ends.

        Raises StorageError if the storage cannot be read, Fail if it has lost the bytes.
        """
        return self._source.path(self.id)

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], *, id: int = 1) -> "InputFile":
        """A file of this machine, for a test that calls a handler."""
        file = cls(id)
        file.source = LocalFile(Path(path))
        return file

    @property
    def _source(self) -> Bytes:
        if self.source is None:
            raise RuntimeError(f"File {self.id} can be read only in the handler of its task.")
        return self.source

    def __repr__(self) -> str:
        return f"InputFile({self.id})"


class LocalFile:
    """The bytes of a file of this machine."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def about(self, file_id: int) -> About:
        with self._path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        content_type = mimetypes.guess_type(self._path.name)[0] or "application/octet-stream"
        return About(self._path.name, content_type, self._path.stat().st_size, digest)

    def open(self, file_id: int) -> BinaryIO:
        return self._path.open("rb")

    def path(self, file_id: int) -> Path:
        return self._path


class OutputFile(FileId):
    """A file that the handler has saved with ``Run.save_file``; ``size`` is in bytes."""

    def __init__(self, id: int, name: str = "", size: int = 0) -> None:
        self.id = id
        self.name = name
        self.size = size

    def __repr__(self) -> str:
        return f"OutputFile({self.id}, {self.name!r}, {self.size})"


class Accepts:
    """Restricts an ``InputFile``: its media types, also as ``image/*``, and its size in bytes.

    It annotates the file itself: ``list[Annotated[InputFile, Accepts("image/*")]]``.
    """

    def __init__(self, *content_types: str, max_bytes: int | None = None) -> None:
        """Raises ValueError for a pattern that is no media type, and for a size below 1."""
        for pattern in content_types:
            if pattern.count("/") != 1:
                raise ValueError(f"{pattern!r}: a media type like image/png or image/* is expected")
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        self.content_types = content_types
        self.max_bytes = max_bytes

    def matches(self, content_type: str) -> bool:
        """Whether a file of this media type is accepted."""
        return not self.content_types or any(
            fnmatchcase(content_type, pattern) for pattern in self.content_types
        )

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        if source is not InputFile:
            raise PydanticUserError(
                "Accepts annotates InputFile itself: list[Annotated[InputFile, Accepts(...)]]",
                code=None,
            )
        return core_schema.no_info_after_validator_function(self._restrict, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        json_schema = handler(schema)
        if self.content_types:
            json_schema["x-accept"] = list(self.content_types)
        if self.max_bytes:
            json_schema["x-max-bytes"] = self.max_bytes
        return json_schema

    def _restrict(self, file: InputFile) -> InputFile:
        file.accepts = self
        return file


@dataclass(frozen=True)
class UsedFile:
    """A file that an input names, with its path in the input."""

    path: tuple[str | int, ...]
    file: InputFile


@contextmanager
def reading(source: Source) -> Iterator[tuple[Stream, int | None]]:
    """Open a source for reading; also its size, if it is known.

    A stream that can seek is read from its beginning. Raises OSError, and TypeError for a source
    of another kind.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        yield io.BytesIO(data), len(data)
    elif isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            yield file, os.fstat(file.fileno()).st_size
    elif hasattr(source, "read"):
        stream: Any = source
        if getattr(stream, "seekable", lambda: False)():
            stream.seek(0)
        yield stream, None
    else:
        kind = type(source).__name__
        raise TypeError(f"save_file takes a path, bytes or a binary stream, not {kind}")


def pieces(stream: Stream) -> Iterator[bytes]:
    """What is left of a stream. Raises TypeError if it does not read bytes."""
    while True:
        piece = stream.read(PIECE)
        if not isinstance(piece, bytes):
            raise TypeError("save_file takes a stream of bytes: open the file in binary mode")
        if not piece:
            return
        yield piece


def files_in(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[UsedFile]:
    """The input files in a validated value: also in lists, dictionaries and models."""
    if isinstance(value, InputFile):
        yield UsedFile(path, value)
        return
    if isinstance(value, RootModel):
        yield from files_in(value.root, path)
        return
    for step, inner in _parts(value):
        yield from files_in(inner, (*path, step))


def _parts(value: Any) -> Iterator[tuple[str | int, Any]]:
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield field.alias or name, getattr(value, name)
    elif is_dataclass(value) and not isinstance(value, type):
        for item in fields(value):
            yield item.name, getattr(value, item.name)
    elif isinstance(value, Mapping):
        yield from ((str(key), inner) for key, inner in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from enumerate(value)


def _id_schema(cls: Callable[[int], Any]) -> CoreSchema:
    """Read an id as a file; accept a file as it is; write a file as its id."""
    from_id = core_schema.no_info_after_validator_function(
        cls, core_schema.int_schema(ge=1, le=LARGEST_ID, strict=True)
    )
    return core_schema.json_or_python_schema(
        json_schema=from_id,
        python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), from_id]),
        serialization=core_schema.plain_serializer_function_ser_schema(
            lambda file: file.id, return_schema=core_schema.int_schema()
        ),
    )
