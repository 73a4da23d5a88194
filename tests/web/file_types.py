"""Task types with files, for the tests of the page."""

import time
from dataclasses import dataclass
from typing import Annotated

from taskyard import Accepts, InputFile, OutputFile, Run, task_type


@task_type("takes-files")
def takes_files(
    picture: Annotated[InputFile, Accepts("image/png", "image/jpeg", max_bytes=2_000_000)],
    tables: list[Annotated[InputFile, Accepts("text/*")]] | None = None,
    seconds: float = 0,
) -> list[int]:
    """Make a page of a picture and tables."""
    time.sleep(seconds)
    return [picture.id, *(table.id for table in tables or [])]


@task_type("takes-a-file")
def takes_a_file(file: InputFile | None = None, seconds: float = 0) -> int | None:
    time.sleep(seconds)
    return file and file.id


@dataclass
class Chapter:
    title: str
    text: InputFile


@task_type("takes-chapters")
def takes_chapters(chapters: list[Chapter]) -> int:
    return len(chapters)


@task_type("saves-files")
def saves_files(run: Run, names: list[str], seconds: float = 0) -> int:
    for name in names:
        run.save_file(name, f"The text of {name}".encode())
    time.sleep(seconds)
    return len(names)


@task_type("returns-a-file")
def returns_a_file(run: Run, name: str) -> OutputFile:
    return run.save_file(name, b"data")
