"""Move files with a bar on a terminal."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from taskyard.client.commands.terminal import is_terminal, to_one_line

if TYPE_CHECKING:
    from taskyard.client import File


@contextmanager
def transfer_bar(name: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar for one file. Yields the function to call with the bytes so far and all bytes."""
    if not is_terminal(sys.stderr):
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.fields[name]}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar_id = bars.add_task("", total=None, name=to_one_line(Path(name).name))
        yield lambda done, total: bars.update(bar_id, completed=done, total=total)


def download_all(files: Iterable["File"], folder: str) -> Iterator[tuple["File", Path]]:
    """Download files into a folder, which is made if necessary; each file, and where it is.

    A second file of the same name gets its id into the name.
    """
    from taskyard.client.local_files import target_of

    taken = set()  # in one case: some file systems do not tell them apart
    for file in files:
        target = target_of(f"{folder}/", file.name)
        while target.name.casefold() in taken:
            target = target.with_name(f"{target.stem}-{file.id}{target.suffix}")
        taken.add(target.name.casefold())
        with transfer_bar(target.name) as progress:
            yield file, file.download(target, progress=progress)
