"""Send and fetch the bytes of files, and go on after a lost connection.

`sync_transfer.py` is generated from this file by `python tools/unasync.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from taskyard.client.async_transport import AsyncTransport, parse_json
from taskyard.client.errors import Conflict, ConnectionFailed, TaskyardError, TransferFailed
from taskyard.client.local_files import PartFile, Source
from taskyard.client.models import FileRecord, OnProgress

# A longer file is sent in pieces of this size, each of which can be resumed.
PIECE_BYTES = 16 * 2**20
READ_BYTES = 2**18
# The server reads a file again if its upload was resumed; at least so many bytes a second.
HASHED_BYTES = 20_000_000
OCTETS = "application/octet-stream"


async def upload(
    transport: AsyncTransport, source: Source, *, progress: OnProgress | None, resumable: bool
) -> Any:
    """Send a file; its JSON. Raises ApiError, ConnectionFailed, TransferFailed."""
    if resumable or source.size > PIECE_BYTES:
        file = await _upload_pieces(transport, source, progress)
    else:
        file = await _upload_whole(transport, source, progress)
    if file["sha256"] != source.sha256:
        await _delete(transport, f"/files/{file['id']}/")
        raise TransferFailed(f"{source.name}: the server has other bytes than were sent")
    return file


async def download(
    transport: AsyncTransport, file: FileRecord, target: Path, progress: OnProgress | None
) -> Path:
    """Fetch a file into `<target>.part`, check its digest, and rename it to ``target``.

    If the digest is wrong and a part was there before, it was of another file: begin again.
    Raises ApiError, ConnectionFailed, TransferFailed, OSError.
    """
    with await asyncio.to_thread(PartFile, target, file.size) as part:
        is_resumed = part.size > 0
        while True:
            await _fetch(transport, file, part, progress)
            if part.sha256 == file.sha256:
                return part.complete()
            if not is_resumed:
                part.delete()
                raise TransferFailed(f"{target}: other bytes arrived than the server has")
            is_resumed = False
            part.restart()


async def _upload_whole(
    transport: AsyncTransport, source: Source, progress: OnProgress | None
) -> Any:
    response = await transport.request(
        "POST",
        "/files/",
        _body(source, 0, source.size, progress),
        query={"name": source.name},
        headers={"Content-Type": OCTETS, "Content-Length": str(source.size)},
    )
    return parse_json(response)


async def _upload_pieces(
    transport: AsyncTransport, source: Source, progress: OnProgress | None
) -> Any:
    size = source.size
    response = await transport.request(
        "POST",
        "/files/",
        b"",
        query={"name": source.name},
        headers={
            "Content-Type": OCTETS,
            "Upload-Complete": "?0",
            "Upload-Length": str(size),
        },
    )
    file_id = int(parse_json(response)["id"])
    path = f"/files/{file_id}/upload/"
    try:
        offset, furthest, most_bytes, is_complete = 0, 0, PIECE_BYTES, False
        retry_budget = transport.new_retry_budget()
        while not is_complete:
            try:
                response = await _send_piece(
                    transport, path, source, offset, min(most_bytes, size - offset), progress
                )
                if _keeps_nothing(response, offset):
                    if most_bytes == size:
                        raise ConnectionFailed(f"{response.url}: the server keeps no bytes")
                    # Only a folder keeps pieces; other storages take the whole rest at once.
                    most_bytes = size
            except (ConnectionFailed, Conflict) as error:
                # The server stands elsewhere, or the cut request still writes there.
                pause = retry_budget.pause(getattr(error, "retry_after", None))
                if pause is None:
                    raise
                transport.notify_retry(error, pause)
                await asyncio.sleep(pause)
                response = await transport.request("HEAD", path)
            offset = _offset(response)
            is_complete = _is_complete(response)
            if offset > furthest:
                furthest = offset
                retry_budget = transport.new_retry_budget()
    except ConnectionFailed:
        raise  # the server deletes an upload that does not go on
    except BaseException:
        await _delete(transport, path)
        raise
    return await transport.json("GET", f"/files/{file_id}/")


async def _send_piece(
    transport: AsyncTransport,
    path: str,
    source: Source,
    offset: int,
    length: int,
    progress: OnProgress | None,
) -> httpx.Response:
    is_last = offset + length == source.size
    return await transport.request(
        "PATCH",
        path,
        _body(source, offset, length, progress),
        headers={
            "Content-Type": "application/partial-upload",
            "Content-Length": str(length),
            "Upload-Offset": str(offset),
            "Upload-Complete": "?1" if is_last else "?0",
        },
        seconds=transport.timeout + (source.size / HASHED_BYTES if is_last else 0),
        repeatable=False,
    )


def _keeps_nothing(response: httpx.Response, sent_at: int) -> bool:
    """Whether the upload stands where it was before bytes were sent, or even before that."""
    return not _is_complete(response) and _offset(response) <= sent_at


def _is_complete(response: httpx.Response) -> bool:
    return bool(response.headers.get("Upload-Complete") == "?1")


def _offset(response: httpx.Response) -> int:
    try:
        return int(response.headers["Upload-Offset"])
    except (KeyError, ValueError):
        raise ConnectionFailed(f"{response.url}: the response has no offset") from None


def _body(
    source: Source, offset: int, length: int, progress: OnProgress | None
) -> Callable[[], AsyncIterator[bytes]]:
    """The function that starts to read a part of a file, once for each try."""

    async def read() -> AsyncIterator[bytes]:
        at, end = offset, offset + length
        while at < end:
            data = await asyncio.to_thread(source.read, at, min(READ_BYTES, end - at))
            yield data
            at += len(data)
            if progress is not None:
                progress(at, source.size)

    return read


async def _fetch(
    transport: AsyncTransport, file: FileRecord, part: PartFile, progress: OnProgress | None
) -> None:
    """Append what the part lacks."""
    furthest = part.size
    retry_budget = transport.new_retry_budget()
    while part.size < file.size:
        try:
            await _fetch_once(transport, file, part, progress)
            error = ConnectionFailed(f"{transport.url}: the response ended too early")
        except httpx.TransportError as lost:
            error = ConnectionFailed(f"{transport.url}: {lost or type(lost).__name__}")
        if part.size >= file.size:
            return
        if part.size > furthest:
            furthest = part.size
            retry_budget = transport.new_retry_budget()
        pause = retry_budget.pause()
        if pause is None:
            raise error
        transport.notify_retry(error, pause)
        await asyncio.sleep(pause)


async def _fetch_once(
    transport: AsyncTransport, file: FileRecord, part: PartFile, progress: OnProgress | None
) -> None:
    # Bytes that a proxy has compressed could not be counted.
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        headers["If-Range"] = f'"{file.sha256}"'
    response = await transport.request(
        "GET", f"/files/{file.id}/content/", headers=headers, stream=True
    )
    try:
        if response.has_redirect_location:
            async with transport.follow(response) as stored:
                await _append(part, stored, progress)
        else:
            await _append(part, response, progress)
    finally:
        await response.aclose()


async def _append(part: PartFile, response: httpx.Response, progress: OnProgress | None) -> None:
    begins = response.headers.get("Content-Range", "").startswith(f"bytes {part.size}-")
    if response.status_code != 206 or not begins:
        part.restart()
    async for data in response.aiter_bytes():
        await asyncio.to_thread(part.write, data)
        if progress is not None:
            progress(part.size, part.expected)


async def _delete(transport: AsyncTransport, path: str) -> None:
    with suppress(TaskyardError):  # the server deletes an unused file after a day
        await transport.request("DELETE", path)
