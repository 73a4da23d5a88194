"""Read the input files of a running handler, from the storage or from local copies."""

import io
import logging
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from taskyard.catalog.files import PIECE, About, StorageError
from taskyard.catalog.run import Fail, Run
from taskyard.core.types import MESSAGES
from taskyard.worker.local_copies import Copy, copies
from taskyard.worker.output_files import refuse_without_the_app, telling_the_handler
from taskyard.worker.reporter import retry_until_database_answers

if TYPE_CHECKING:
    from taskyard.files.models import StoredFile

logger = logging.getLogger(__name__)


class InputFiles:
    """The files that the input of one task names; implements ``catalog.files.Bytes``.

    Nothing is read before the handler asks for it. Works from any of its threads.
    """

    def __init__(self, task_id: int, run: Run | None) -> None:
        self._task_id = task_id
        self._run = run
        self._rows: dict[int, StoredFile] | None = None
        self._copies: dict[int, Copy] = {}
        self._lock = threading.Lock()
        self._folder: Path | None = None

    def about(self, file_id: int) -> About:
        row = self._row(file_id)
        return About(row.name, row.content_type, row.size, row.sha256)

    def open(self, file_id: int) -> BinaryIO:
        from taskyard.files import storage

        row = self._row(file_id)
        with telling_the_handler(row.name):
            stream = storage.read(row.key)
        if storage.folder():
            return stream
        return cast("BinaryIO", io.BufferedReader(_Remote(stream, row.name), PIECE))

    def path(self, file_id: int) -> Path:
        row = self._row(file_id)
        with self._lock, _without_our_paths():
            if file_id not in self._copies:
                self._folder = self._folder or copies().new_folder()
                copy = Copy(self._folder / str(file_id), row.name, row.size, row.created_at)
                if not copies().take(file_id, copy):
                    self._fetch(row, copy)
                self._copies[file_id] = copy
            return self._copies[file_id].path

    def close(self) -> None:
        """The handler has ended: keep its copies for the next, unless it has changed them.

        Raises nothing, because the handler's result does not depend on it.
        """
        try:
            for file_id, copy in self._copies.items():
                copies().give_back(file_id, copy)
        except OSError as error:
            logger.warning("local copies not kept", extra={"why": str(error)})
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _row(self, file_id: int) -> "StoredFile":
        """The record of a file. One query reads those of all files of the task."""
        refuse_without_the_app()
        if self._rows is None:
            self._rows = retry_until_database_answers(lambda: _inputs_of(self._task_id))
        if file_id not in self._rows:
            raise Fail("file_missing", MESSAGES["file_missing"] % {"name": file_id})
        return self._rows[file_id]

    def _fetch(self, row: "StoredFile", copy: Copy) -> None:
        """Copy a file from the storage."""
        from taskyard.files import storage

        try:
            with (
                copy.writing() as target,
                telling_the_handler(row.name),
                storage.read(row.key) as stream,
            ):
                while piece := storage.read_piece(stream, PIECE):
                    target.write(piece)
                    if self._run is not None:
                        self._run.raise_if_cancelled()
                if target.tell() != row.size:
                    raise FileNotFoundError("the storage has a part of the bytes")
        except BaseException:
            copy.delete()
            raise


class _Remote(io.RawIOBase):
    """A file in a storage that may fail at each read. Raises what a handler knows."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._stream.seekable()

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        from taskyard.files import storage

        with telling_the_handler(self._name):
            data = storage.read_piece(self._stream, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


@contextmanager
def _without_our_paths() -> Iterator[None]:
    """Raise an OSError without its path, because the owner of the task sees the message."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror) from None


def _inputs_of(task_id: int) -> "dict[int, StoredFile]":
    from taskyard.files.models import State, StoredFile

    return {row.pk: row for row in StoredFile.objects.filter(uses__task=task_id, state=State.READY)}
