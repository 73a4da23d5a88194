"""Generated from `async_files.py` by `python tools/unasync.py`; edit that file instead."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from taskyard.client.local_files import target_of
from taskyard.client.models import (
    FileRecord,
    Json,
    OnProgress,
    TaskRecord,
    file_fields,
    task_fields,
)
from taskyard.client.sync_transfer import download
from taskyard.client.sync_transport import Query, Transport


@dataclass(frozen=True)
class File(FileRecord):
    """A file on the server; ``size`` is in bytes, ``sha256`` in hexadecimal digits.

    ``role`` is input or output; of a task's file, what it is to the task.
    """

    _transport: Transport = field(repr=False, compare=False)

    @classmethod
    def from_dict(cls, raw: Json, transport: Transport) -> Self:
        return cls(**file_fields(raw), _transport=transport)

    def download(
        self, path: str | os.PathLike[str] | None = None, *, progress: OnProgress | None = None
    ) -> Path:
        """Write the file to ``path`` and return where it is.

        If ``path`` is a folder, or a text that ends with a slash, the file keeps its name in it;
        None is the current folder. The bytes go to a file with `.part` after its name, which is
        renamed when the SHA-256 is right. After a lost connection, also of an earlier program, the
        download goes on. ``progress`` is called with the bytes so far and all bytes.

        Raises NotFound, ConnectionFailed, OSError, and TransferFailed, also while another download
        writes to the same path.
        """
        return download(self._transport, self, target_of(path, self.name), progress)

    def delete(self) -> None:
        """Delete the file. Raises NotFound, FileInUse."""
        self._transport.request("DELETE", f"/files/{self.id}/")


@dataclass(frozen=True)
class Task(TaskRecord):
    """A task at the time of the response.

    ``omitted`` names the fields that were too long for a list (``input_data``, ``result``);
    ``get`` returns them. ``files`` are its inputs and then its outputs.
    """

    files: tuple[File, ...]

    @classmethod
    def from_dict(cls, raw: Json, transport: Transport) -> Self:
        files = tuple(File.from_dict(file, transport) for file in raw.get("files", ()))
        return cls(**task_fields(raw), files=files)


@dataclass(frozen=True)
class Event:
    """A task from a stream. ``id`` is the ``last_event_id`` to resume after this event."""

    id: str
    task: Task


class Files:
    """The files of the user: ``client.files``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, *, role: str | None = None, task: int | None = None, page_size: int = 100
    ) -> Iterator[File]:
        """Iterate over the user's files, oldest first; pages are fetched as needed.

        ``role`` is input or output; ``task`` is the id of a task that uses or has saved them.
        """
        query: Query = {"role": role, "task": task, "page_size": page_size, "after": 0}
        while True:
            page = self._transport.json("GET", "/files/", query=query)
            for raw in page["results"]:
                yield File.from_dict(raw, self._transport)
            if page["next"] is None:
                return
            query["after"] = page["results"][-1]["id"]

    def get(self, file_id: int) -> File:
        """Get a file. Raises NotFound."""
        return File.from_dict(self._transport.json("GET", f"/files/{file_id}/"), self._transport)

    def delete(self, file_id: int) -> None:
        """Delete a file. Raises NotFound, FileInUse."""
        self._transport.request("DELETE", f"/files/{file_id}/")
