"""Measure a large file through the web: seconds, and how much memory the web takes for it.

`python -m benchmarks.files [--gib 5] [--rounds 3]`. The same bytes go through a pipe into a file
and to the disk, in turns with upload and download, because a disk has its moods. Each file is read
before it is measured, so all three read from memory, and written to the disk by `fsync`.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.system_under_test import SystemUnderTest, system_under_test

PIECE = 2**20
NO_LIMITS = {"TASKYARD_FILE_LIMIT": "1 TiB", "TASKYARD_FILES_PER_USER": "1 TiB"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    size = int(given.gib * 2**30)
    with (
        tempfile.TemporaryDirectory(prefix="taskyard-files-") as folder,
        system_under_test(None, webs=1, users=1, **NO_LIMITS) as own,
    ):
        source, copy = Path(folder, "source"), Path(folder, "copy")
        _fill(source, size)
        small = Path(folder, "small")
        small.write_bytes(b"x")
        _upload(own, small)  # loads what an upload needs
        rounds = [_round(own, source, copy, size) for _ in range(given.rounds)]
    pipes, uploads, downloads, grown = zip(*rounds, strict=True)
    print(f"{given.gib:g} GiB, {given.rounds} rounds: cp through a pipe {_rate(size, pipes)}")
    for name, taken in (("upload", uploads), ("download", downloads)):
        ratios = [pipe / each for pipe, each in zip(pipes, taken, strict=True)]
        print(f"{name} {_rate(size, taken)}, {statistics.median(ratios):.2f}× of the pipe")
    print(f"memory of the web: at most {max(grown) / 2**20:+.0f} MiB")


def _round(
    own: SystemUnderTest, source: Path, copy: Path, size: int
) -> tuple[float, float, float, int]:
    _warm(source)
    pipe = _timed(lambda: _through_a_pipe(source, copy))
    copy.unlink()
    with _memory_of(own.webs[0].pid) as grown:
        began = time.perf_counter()
        file_id = _upload(own, source)
        upload = time.perf_counter() - began
        download = _timed(lambda: _download(own, file_id, copy))
    assert copy.stat().st_size == size
    copy.unlink()
    _curl(own, f"/api/files/{file_id}/", "--request", "DELETE")
    return pipe, upload, download, max(grown)


def _fill(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for _ in range(0, size, PIECE):
            file.write(os.urandom(PIECE))
        file.truncate(size)


def _warm(path: Path) -> None:
    with path.open("rb") as file:
        while file.read(PIECE):
            pass


def _through_a_pipe(source: Path, copy: Path) -> None:
    with source.open("rb") as file:
        cat = subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE)
        subprocess.run(["cp", "/dev/stdin", copy], stdin=cat.stdout, check=True)
        cat.wait()
    with copy.open("rb") as written:
        os.fsync(written.fileno())


def _upload(own: SystemUnderTest, source: Path) -> int:
    path = "/api/files?name=large.bin"  # curl adds the name of the file to a path that ends in /
    answer = _curl(own, path, "--request", "POST", "--upload-file", str(source))
    return int(json.loads(answer)["id"])


def _download(own: SystemUnderTest, file_id: int, copy: Path) -> None:
    _curl(own, f"/api/files/{file_id}/content/", "--output", str(copy))
    with copy.open("rb") as written:
        os.fsync(written.fileno())


def _curl(own: SystemUnderTest, path: str, *arguments: str) -> bytes:
    """Ask with curl, which takes less of the processor than a client in Python would."""
    command = [
        "curl",
        "--fail-with-body",
        "--silent",
        "--show-error",
        f"http://127.0.0.1:{own.port}{path}",
    ]
    for name, value in _headers(own).items():
        command += ["--header", f"{name}: {value}"]
    return subprocess.run([*command, *arguments], check=True, stdout=subprocess.PIPE).stdout


def _headers(own: SystemUnderTest) -> dict[str, str]:
    content_type = {"Content-Type": "application/octet-stream"}
    return {"Authorization": f"Bearer {own.tokens[0]}", **content_type}


@contextmanager
def _memory_of(pid: int) -> Iterator[list[int]]:
    """How much more memory the process has than at the start, looked at every 20 ms."""
    process = psutil.Process(pid)
    at_first = process.memory_info().rss
    grown = [0]
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            grown.append(process.memory_info().rss - at_first)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield grown
    finally:
        over.set()
        looking.join()


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _rate(size: int, taken: tuple[float, ...]) -> str:
    return f"{size / 2**20 / statistics.median(taken):,.0f} MiB/s"


if __name__ == "__main__":
    main()
