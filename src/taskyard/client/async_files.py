"""Files, and the tasks that have them.

`sync_files.py` is generated from this file by `python tools/unasync.py`.
"""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from taskyard.client.async_transfer import download
from taskyard.client.async_transport import AsyncTransport, Query
from taskyard.client.local_files import target_of
from taskyard.client.models import (
    FileRecord,
    Json,
    OnProgress,
    TaskRecord,
    file_fields,
    task_fields,
)


@dataclass(frozen=True)
class AsyncFile(FileRecord):
    """A file on the server; ``size`` is in bytes, ``sha256`` in hexadecimal digits.

    ``role`` is input or output; of a task's file, what it is to the task.
    """

    _transport: AsyncTransport = field(repr=False, compare=False)

    @classmethod
    def from_dict(cls, raw: Json, transport: AsyncTransport) -> Self:
        return cls(**file_fields(raw), _transport=transport)

    async def download(
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
        return await download(self._transport, self, target_of(path, self.name), progress)

    async def delete(self) -> None:
        """Delete the file. Raises NotFound, FileInUse."""
        await self._transport.request("DELETE", f"/files/{self.id}/")


@dataclass(frozen=True)
class AsyncTask(TaskRecord):
    """A task at the time of the response.

    ``omitted`` names the fields that were too long for a list (``input_data``, ``result``);
    ``get`` returns them. ``files`` are its inputs and then its outputs.
    """

    files: tuple[AsyncFile, ...]

    @classmethod
    def from_dict(cls, raw: Json, transport: AsyncTransport) -> Self:
        files = tuple(AsyncFile.from_dict(file, transport) for file in raw.get("files", ()))
        return cls(**task_fields(raw), files=files)


@dataclass(frozen=True)
class AsyncEvent:
    """A task from a stream. ``id`` is the ``last_event_id`` to resume after this event."""

    id: str
    task: AsyncTask


class AsyncFiles:
    """The files of the user: ``client.files``."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def list(
        self, *, role: str | None = None, task: int | None = None, page_size: int = 100
    ) -> AsyncIterator[AsyncFile]:
        """Iterate over the user's files, oldest first; pages are fetched as needed.

        ``role`` is input or output; ``task`` is the id of a task that uses or has saved them.
        """
        query: Query = {"role": role, "task": task, "page_size": page_size, "after": 0}
        while True:
            page = await self._transport.json("GET", "/files/", query=query)
            for raw in page["results"]:
                yield AsyncFile.from_dict(raw, self._transport)
            if page["next"] is None:
                return
            query["after"] = page["results"][-1]["id"]

    async def get(self, file_id: int) -> AsyncFile:
        """Get a file. Raises NotFound."""
        return AsyncFile.from_dict(
            await self._transport.json("GET", f"/files/{file_id}/"), self._transport
        )

    async def delete(self, file_id: int) -> None:
        """Delete a file. Raises NotFound, FileInUse."""
        await self._transport.request("DELETE", f"/files/{file_id}/")
