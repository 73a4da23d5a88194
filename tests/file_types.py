"""Task types that use and save files, for tests."""

import asyncio
import hashlib
import io
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal

from django.db import transaction
from pydantic import BaseModel

from taskyard import Accepts, Fail, InputFile, OutputFile, Retry, Run, task_type

MIB = 2**20
# Of more than one piece, and the same in each attempt.
CONTENT = bytes(range(256)) * 4096


class Slow(io.RawIOBase):
    """A stream of so many MiB that takes its time for each."""

    def __init__(self, mib: int, seconds: float) -> None:
        self._left, self._seconds = mib, seconds

    def read(self, size: int = -1) -> bytes:
        time.sleep(self._seconds)
        self._left -= 1
        return CONTENT if self._left >= 0 else b""


@task_type("files-copy", backoff=lambda attempt: 0.1)
def files_copy(
    run: Run, files: list[InputFile], by: Literal["path", "open"] = "open"
) -> list[OutputFile]:
    """Give each file back."""
    copied = []
    for file in files:
        if by == "path":
            copied.append(run.save_file(f"copy of {file.name}", file.path))
        else:
            with file.open() as stream:
                copied.append(run.save_file(f"copy of {file.name}", stream))
    return copied


class Page(BaseModel):
    image: Annotated[InputFile, Accepts("text/*")]


@task_type("files-describe", batch=50)
def files_describe(pages: list[Page], cover: InputFile | None = None) -> list[dict[str, Any]]:
    """What is known of files, in a handler without a Run."""
    files = [page.image for page in pages] + ([cover] if cover else [])
    return [
        {
            "name": file.name,
            "size": file.size,
            "type": file.content_type,
            "sha256": file.sha256,
            "path": file.path.name,
            "is_whole": hashlib.sha256(file.path.read_bytes()).hexdigest() == file.sha256,
        }
        for file in files
    ]


@task_type("files-save", max_attempts=3, backoff=lambda attempt: 0.1)
def files_save(run: Run, how: str, mib: int = 2) -> Any:
    """Save in every way that people do."""
    match how:
        case "bytes":
            return run.save_file("out.bin", CONTENT * mib).id
        case "path":
            path = Path(os.environ.get("TMPDIR", "/tmp"), f"saved-{run.task_id}")
            path.write_bytes(CONTENT * mib)
            try:
                return run.save_file("out.bin", path).id
            finally:
                path.unlink()
        case "buffer":
            buffer = io.BytesIO()
            buffer.write(CONTENT * mib)
            return run.save_file("out.bin", buffer).id
        case "slowly":
            return run.save_file("out.bin", Slow(mib, 0.05)).id
        case "text":
            return run.save_file("out.bin", io.StringIO("text")).id  # type: ignore[arg-type]
        case "threads":
            with ThreadPoolExecutor(4) as pool:
                names = [f"{number}.bin" for number in range(8)]
                return sorted(pool.map(lambda name: run.save_file(name, CONTENT).id, names))
        case "transaction":
            with transaction.atomic():
                return run.save_file("out.bin", CONTENT).id
        case "retry":
            run.save_file("out.bin", f"attempt {run.attempt}".encode())
            run.save_file(f"attempt-{run.attempt}.txt", b"x")
            if run.attempt < 3:
                raise Retry("again", after=0.1)
            return run.attempt
        case "sleep":
            if run.checkpoint is None:
                run.save_file("first.txt", b"first")
            run.sleep(0.2)
            return run.save_file("second.txt", b"second").id
        case "steps":
            if run.checkpoint is None:
                run.save_file("first.txt", b"first")
                run.checkpoint = {"step": 1}
                run.save_file("lost.txt", b"lost")
                os.kill(os.getpid(), signal.SIGKILL)
            return run.save_file("second.txt", b"second").id
        case "fail":
            run.save_file("why.txt", b"why")
            raise Fail("no", "no")
        case "stray":
            threading.Thread(target=run.save_file, args=("late.bin", Slow(20, 0.1))).start()
            return run.save_file("out.bin", b"out").id
    raise AssertionError(how)


@task_type("files-save-async", max_attempts=1)
async def files_save_async(run: Run, files: list[InputFile], slow: bool = False) -> int:
    """From an event loop, which goes on meanwhile."""
    if slow:
        saved = await asyncio.to_thread(run.save_file, "out.bin", Slow(1000, 0.05))
        return saved.id
    paths = [await asyncio.to_thread(getattr, file, "path") for file in files]
    run.save_file("names.txt", ",".join(path.name for path in paths).encode())
    saved = await asyncio.to_thread(run.save_file, "out.bin", CONTENT)
    return saved.size


@task_type("files-save-three", max_attempts=10)
def files_save_three(run: Run, seed: int) -> list[OutputFile]:
    """Three files whose bytes follow from the seed; the second replaces one of that name."""
    run.save_file("b.bin", b"replaced" * 1000)
    return [
        run.save_file(name, bytes([seed % 256]) * (size * 1000 + seed))
        for name, size in (("a.bin", 100), ("b.bin", 3000), ("c.bin", 1))
    ]


@task_type("files-tamper", max_attempts=1)
def files_tamper(file: InputFile, how: str) -> str:
    """Do something to the local copy; its bytes as they were before."""
    before, copies = file.path.read_text(), file.path.parents[4]
    act: dict[str, Callable[[], Any]] = {
        "nothing": lambda: None,
        "write": lambda: file.path.write_text("x" * len(before)),
        "append": lambda: file.path.write_text(before + "more"),
        "delete": lambda: file.path.unlink(),
        "beside": lambda: file.path.with_name("another").write_text("x"),
        "rename": lambda: file.path.rename(file.path.with_name("renamed")),
        # As a system does with its temporary folder.
        "clean": lambda: shutil.rmtree(copies.parent),
        "clean kept ones": lambda: shutil.rmtree(copies / "kept"),
        "spoil": lambda: (shutil.rmtree(copies / "kept"), (copies / "kept").touch()),
    }
    act[how]()
    return before
