"""The `bulk` command: submit each line of a JSON Lines file exactly once, over any interruption."""

import codecs
import hashlib
import io
import json
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from taskyard.client.commands import output
from taskyard.client.commands.fields import BadField, detect_encoding, standard_input
from taskyard.client.commands.prefetch import prefetch
from taskyard.client.commands.session import AsJson, command, connect, notice
from taskyard.client.commands.terminal import echo, is_terminal
from taskyard.client.i18n import gettext as _

if TYPE_CHECKING:
    from taskyard.client import FieldError

LARGEST_CHUNK = 1000
# How long the server remembers an idempotency key.
KEY_SECONDS = 24 * 3600


@command
def bulk(
    file: Annotated[str, typer.Argument(metavar="FILE", help=_("lines of JSON; - is stdin"))],
    task_type: Annotated[
        str,
        typer.Option(
            "--type",
            metavar="TYPE",
            help=_("each line is only the input of this type; without it, the body of a create"),
        ),
    ] = "",
    wait: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait", help=_("if the quota is used up, wait for free places, or stop")
        ),
    ] = True,
    idempotency_key: Annotated[
        str,
        typer.Option(metavar="KEY", help=_("identifies the tasks; default: the file's path")),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Submit a task for each line. After an interruption, the same command continues.

    Each task has a key made from the file's path and the line number, so that within 24 hours no
    line becomes two tasks. Empty lines are skipped.
    """
    lines = _TaskLines(file, task_type)
    replayed, key = 0, _bulk_key(file, idempotency_key)
    with connect(keep_trying=True) as client, _explain_stop(lines), _progress_bar(lines) as advance:
        chunk_size = _load_chunk_size(key)
        if not chunk_size:
            # A chunk larger than the quota could never be accepted.
            chunk_size = min(LARGEST_CHUNK, client.limits().active_limit)
            _save_chunk_size(key, chunk_size)
        chunks = client.submit_chunks(
            lines, idempotency_key=key, size=chunk_size, wait_for_places=wait
        )
        for chunk in chunks:
            for line, task_id in zip(lines.accept(len(chunk.ids)), chunk.ids, strict=True):
                if as_json:
                    output.print_json({"line": line, "id": task_id, "replayed": chunk.replayed})
            replayed += len(chunk.ids) if chunk.replayed else 0
            advance()
    if not as_json:
        counts = {"count": lines.accepted, "before": replayed}
        echo(_("%(count)s tasks; %(before)s of them were there before") % counts)


class _TaskLines:
    """Iterates over the tasks of a file and remembers the line number of each."""

    def __init__(self, path: str, task_type: str) -> None:
        self.path = path
        self.size = 0
        self.bytes_read = 0
        self.accepted = 0
        self._line_numbers: deque[int] = deque()
        # Lines are parsed only to check that they are JSON, and are sent unchanged.
        prefix = f'{{"task_type":{json.dumps(task_type)},"input_data":'
        self._prefix, self._suffix = (prefix.encode(), b"}") if task_type else (b"", b"")

    def __iter__(self) -> Iterator[bytes]:
        # A thread that reads from a pipe cannot be interrupted.
        return self._read_tasks() if self.path == "-" else prefetch(self._read_tasks())

    def _read_tasks(self) -> Iterator[bytes]:
        with self._open() as file:
            for number, line in enumerate(_utf8_lines(file, self.path), 1):
                self.bytes_read += len(line)
                if line.strip():
                    self._line_numbers.append(number)
                    yield self._to_task(number, line)

    def accept(self, count: int) -> list[int]:
        """Count the next tasks as accepted and return their line numbers."""
        self.accepted += count
        return [self._line_numbers.popleft() for _ in range(count)]

    def line_number(self, index: int) -> int:
        """The line number of a task by its index in the file. The task must not be accepted yet."""
        return self._line_numbers[index - self.accepted]

    def _open(self) -> io.BufferedReader:
        if self.path == "-":
            return cast("io.BufferedReader", standard_input())
        try:
            self.size = Path(self.path).stat().st_size
            return Path(self.path).open("rb")
        except OSError as error:
            raise BadField(f"{self.path}: {error.strerror}") from None

    def _to_task(self, number: int, line: bytes) -> bytes:
        try:
            if not isinstance(_DECODER.decode(line.decode()), dict):
                raise ValueError(_("an object is expected"))
        except (ValueError, RecursionError) as error:
            raise BadField(
                _("line %(number)s: this is not JSON: %(error)s")
                % {"number": number, "error": error}
            ) from None
        return self._prefix + line.strip() + self._suffix


def _utf8_lines(file: io.BufferedReader, path: str) -> Iterator[bytes]:
    """The lines in UTF-8 of a file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark."""
    encoding = detect_encoding(file.peek(4)[:4])
    if encoding == "utf-8-sig":
        if file.peek(3).startswith(codecs.BOM_UTF8):
            file.read(3)
        yield from file
        return
    try:
        for line in io.TextIOWrapper(file, encoding=encoding):
            yield line.encode()
    except UnicodeError as error:
        raise BadField(f"{path}: {error}") from None


def _reject_constant(constant: str) -> Any:
    raise ValueError(constant)  # NaN and infinity are not JSON


_DECODER = json.JSONDecoder(parse_constant=_reject_constant)


def _bulk_key(file: str, user_key: str) -> str:
    """The idempotency key of a file: from its path, since the user may fix lines between runs.

    A pipe cannot be read again, so it gets a random key.
    """
    if not user_key and file == "-":
        return uuid.uuid4().hex
    name = f"key {user_key}" if user_key else f"path {Path(file).resolve()}"
    return f"bulk-{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:40]}"


def _load_chunk_size(key: str) -> int:
    """The chunk size of an earlier run with this key; 0 if there was none.

    The key of a chunk contains the index of its first task. If the quota has changed since, chunks
    of another size would reuse the keys with other lines.
    """
    try:
        return int(_chunk_size_file(key).read_text())
    except (OSError, ValueError):
        return 0


def _save_chunk_size(key: str, size: int) -> None:
    """Save the size for the next run, and delete the files of expired keys."""
    path = _chunk_size_file(key)
    with suppress(OSError):  # the file is needed only if the quota changes between runs
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in path.parent.iterdir():
            if time.time() - old.stat().st_mtime > KEY_SECONDS:
                old.unlink()
        path.write_text(str(size))


def _chunk_size_file(key: str) -> Path:
    from taskyard.client import config

    return config.config_dir() / "bulk" / key


@contextmanager
def _explain_stop(lines: _TaskLines) -> Iterator[None]:
    """If an error stops the command, print how many lines were accepted and name the bad ones."""
    from taskyard.client import ApiError, IdempotencyKeyReused, TaskyardError

    try:
        yield
    except (KeyboardInterrupt, TaskyardError, BadField) as error:
        if lines.accepted:
            text = _("%(count)s lines are accepted; run the command again to continue")
            notice(text % {"count": lines.accepted})
        if isinstance(error, IdempotencyKeyReused):
            error.detail = _(
                "Line %(number)s and the lines after it were accepted before with other content. "
                "Use another --idempotency-key to submit all of them as new tasks."
            ) % {"number": lines.line_number(lines.accepted)}
        elif isinstance(error, ApiError):
            error.errors = tuple(_with_line_number(each, lines) for each in error.errors)
        raise


def _with_line_number(error: "FieldError", lines: _TaskLines) -> "FieldError":
    match error.steps:
        case ["tasks", index, *rest] if index.isdecimal():
            line = _("line %(number)s") % {"number": lines.line_number(int(index))}
            return replace(error, pointer="/".join(["", line, *rest]))
    return error


@contextmanager
def _progress_bar(lines: _TaskLines) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal. Yields the function that updates it after an accepted chunk."""
    if not is_terminal(sys.stderr):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TextColumn("{task.fields[done]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        bar_id = bars.add_task("", total=None, done=0)
        yield lambda: bars.update(
            bar_id, total=lines.size or None, completed=lines.bytes_read, done=lines.accepted
        )
