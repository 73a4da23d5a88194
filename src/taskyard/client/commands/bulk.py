"""bulk: many tasks from lines of JSON, each exactly once, however often it is interrupted."""

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
from taskyard.client.commands.ahead import ahead
from taskyard.client.commands.fields import BadField, encoding_of, standard_input
from taskyard.client.commands.session import AsJson, command, connect, say
from taskyard.client.commands.terminal import is_terminal, put
from taskyard.client.i18n import gettext as _

if TYPE_CHECKING:
    from taskyard.client import FieldError

LARGEST_CHUNK = 1000
# How long the server knows a key.
KEY_SECONDS = 24 * 3600


@command
def bulk(
    file: Annotated[str, typer.Argument(metavar="FILE", help=_("lines of JSON; - is stdin"))],
    task_type: Annotated[
        str,
        typer.Option(
            "--type",
            metavar="TYPE",
            help=_("of every line, which is the input alone then; else a line is a create's body"),
        ),
    ] = "",
    wait: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait", help=_("for free places where the quota is used up, or stop there")
        ),
    ] = True,
    idempotency_key: Annotated[
        str,
        typer.Option(metavar="KEY", help=_("names these tasks; else the path of the file does")),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Submit a task for each line. Begun again, it goes on where it was interrupted.

    The tasks have keys made from the file's path and the number of the line, so that within 24
    hours no line becomes two tasks. Empty lines are left out.
    """
    lines = _Lines(file, task_type)
    replayed, key = 0, _key(file, idempotency_key)
    with connect(patient=True) as client, _accounted(lines), _progress(lines) as advance:
        chunks = client.submit_chunks(
            lines,
            idempotency_key=key,
            # Where the quota is smaller than a chunk, none would ever fit.
            size=_begun_with(key) or _begin(key, min(LARGEST_CHUNK, client.limits().active_limit)),
            wait_for_places=wait,
        )
        for chunk in chunks:
            for line, task_id in zip(lines.take(len(chunk.ids)), chunk.ids, strict=True):
                if as_json:
                    output.as_json({"line": line, "id": task_id, "replayed": chunk.replayed})
            replayed += len(chunk.ids) if chunk.replayed else 0
            advance()
    if not as_json:
        counts = {"count": lines.done, "before": replayed}
        put(_("%(count)s tasks; %(before)s of them were there before") % counts)


class _Lines:
    """The tasks of a file, read as they are wanted; knows on which line each stands."""

    def __init__(self, path: str, task_type: str) -> None:
        self.path = path
        self.size = 0
        self.read = 0
        self.done = 0
        self._numbers: deque[int] = deque()
        # The lines go out as they came in: they are only read to see that they are JSON.
        typed = f'{{"task_type":{json.dumps(task_type)},"input_data":'
        self._before, self._behind = (typed.encode(), b"}") if task_type else (b"", b"")

    def __iter__(self) -> Iterator[bytes]:
        # Who waits for a pipe can't be stopped in a thread.
        return self._tasks() if self.path == "-" else ahead(self._tasks())

    def _tasks(self) -> Iterator[bytes]:
        with self._open() as file:
            for number, line in enumerate(_utf8_lines(file, self.path), 1):
                self.read += len(line)
                if line.strip():
                    self._numbers.append(number)
                    yield self._task(number, line)

    def take(self, count: int) -> list[int]:
        """The numbers of the next lines, which are accepted."""
        self.done += count
        return [self._numbers.popleft() for _ in range(count)]

    def number(self, index: int) -> int:
        """On which line the task of this index stands; only of those not accepted yet."""
        return self._numbers[index - self.done]

    def _open(self) -> io.BufferedReader:
        if self.path == "-":
            return cast("io.BufferedReader", standard_input())
        try:
            self.size = Path(self.path).stat().st_size
            return Path(self.path).open("rb")
        except OSError as error:
            raise BadField(f"{self.path}: {error.strerror}") from None

    def _task(self, number: int, line: bytes) -> bytes:
        try:
            if not isinstance(_DECODER.decode(line.decode()), dict):
                raise ValueError(_("an object is expected"))
        except (ValueError, RecursionError) as error:
            raise BadField(
                _("line %(number)s: this is not JSON: %(error)s")
                % {"number": number, "error": error}
            ) from None
        return self._before + line.strip() + self._behind


def _utf8_lines(file: io.BufferedReader, path: str) -> Iterator[bytes]:
    """The lines of a file in UTF-8, or in UTF-16 or UTF-32 with its mark."""
    encoding = encoding_of(file.peek(4)[:4])
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


def _refuse(constant: str) -> Any:
    raise ValueError(constant)  # NaN and infinity are not JSON


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _key(file: str, given: str) -> str:
    """What names this file: its path, for its content may be mended between two runs."""
    if not given and file == "-":
        return uuid.uuid4().hex  # what comes through a pipe is nobody's a second time
    name = f"key {given}" if given else f"path {Path(file).resolve()}"
    return f"bulk-{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:40]}"


def _begun_with(key: str) -> int:
    """The size of the chunks that a key was begun with; 0 where nobody knows.

    The quota may have changed since, and in chunks of another size the lines would be others'.
    """
    try:
        return int(_note(key).read_text())
    except (OSError, ValueError):
        return 0


def _begin(key: str, size: int) -> int:
    """Note the size, and forget those of keys that the server has forgotten."""
    note = _note(key)
    with suppress(OSError):  # begun again it is as good, unless the quota changes
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in note.parent.iterdir():
            if time.time() - old.stat().st_mtime > KEY_SECONDS:
                old.unlink()
        note.write_text(str(size))
    return size


def _note(key: str) -> Path:
    from taskyard.client import config

    return config.folder() / "bulk" / key


@contextmanager
def _accounted(lines: _Lines) -> Iterator[None]:
    """Whatever stops it: how far it got, and on which lines something is wrong."""
    from taskyard.client import ApiError, IdempotencyKeyReused, TaskyardError

    try:
        yield
    except (KeyboardInterrupt, TaskyardError, BadField) as error:
        if lines.done:
            say(_("%(count)s lines are accepted; begin again to go on") % {"count": lines.done})
        if isinstance(error, IdempotencyKeyReused):
            error.detail = _(
                "Line %(number)s and those behind it were accepted before with another content. "
                "Give --idempotency-key another name to submit all of them as new tasks."
            ) % {"number": lines.number(lines.done)}
        elif isinstance(error, ApiError):
            error.errors = tuple(_on_line(each, lines) for each in error.errors)
        raise


def _on_line(error: "FieldError", lines: _Lines) -> "FieldError":
    match error.steps:
        case ["tasks", index, *rest] if index.isdecimal():
            line = _("line %(number)s") % {"number": lines.number(int(index))}
            return replace(error, pointer="/".join(["", line, *rest]))
    return error


@contextmanager
def _progress(lines: _Lines) -> Iterator[Callable[[], None]]:
    """A bar on a terminal; what to call when something was accepted."""
    if not is_terminal(sys.stderr):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TextColumn("{task.fields[done]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as shown:
        line = shown.add_task("", total=None, done=0)
        yield lambda: shown.update(
            line, total=lines.size or None, completed=lines.read, done=lines.done
        )
