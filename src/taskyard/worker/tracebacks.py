"""The traceback of a failed attempt, and the place in the author's code that raised it."""

import sys
import sysconfig
from pathlib import Path
from traceback import FrameSummary, TracebackException
from types import TracebackType

from taskyard.catalog.encoding import sanitize
from taskyard.core.types import Traceback
from taskyard.worker.scrubbing import scrub

LIMIT_BYTES = 16 * 1024
FRAMES_KEPT = (50, 20, 10, 5, 2, 1)
LOCATION_LENGTH = 300
FRAMES_IN_THE_LOG = 20
CUT = "\n[… cut …]\n"
# Frames of these modules are left out, because they do not help the handler's author.
OURS = (
    *("taskyard.worker.", "taskyard.contrib."),
    *("taskyard.catalog.task_type", "taskyard.catalog.schema"),
)
INSTALLED = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib"))


def describe(error: BaseException) -> Traceback:
    """The traceback of a handler's exception, with its causes, in at most 16 KiB of UTF-8.

    If it is longer, outer frames are left out.
    """
    began = _in_the_handler(error.__traceback__)
    innermost = TracebackException(type(error), error, began, limit=-FRAMES_KEPT[0], compact=True)
    return Traceback(
        exception_type=_path_of(type(error))[:LOCATION_LENGTH],
        location=sanitize(_location(innermost))[:LOCATION_LENGTH],
        text=sanitize(_fitting(error, began)),
    )


def frames_of(error: BaseException) -> str:
    """The innermost frames of an exception and of its causes, the last cause first.

    Without the messages, because they may contain an input.
    """
    pieces: list[str] = []
    trace = _in_the_handler(error.__traceback__)
    summary: TracebackException | None = TracebackException(
        type(error), error, trace, limit=-FRAMES_IN_THE_LOG, compact=True
    )
    while summary is not None:
        pieces.append("".join(summary.stack.format()) + _name_of(summary))
        summary = summary.__cause__ or summary.__context__
    return sanitize("\n".join(reversed(pieces))[-LIMIT_BYTES:])


def _path_of(exception: type[BaseException]) -> str:
    """The dotted path of an exception's class; only the name if it is built in."""
    if exception.__module__ == "builtins":
        return exception.__qualname__
    return f"{exception.__module__}.{exception.__qualname__}"


def _name_of(summary: TracebackException) -> str:
    if sys.version_info >= (3, 13):  # exc_type is deprecated there
        return summary.exc_type_str or ""
    return summary.exc_type.__qualname__ if summary.exc_type else ""


def _in_the_handler(trace: TracebackType | None) -> TracebackType | None:
    inner = trace
    while inner and str(inner.tb_frame.f_globals.get("__name__")).startswith(OURS):
        inner = inner.tb_next
    return inner or trace


def _fitting(error: BaseException, began: TracebackType | None) -> str:
    for frames in FRAMES_KEPT:
        summary = TracebackException(type(error), error, began, limit=-frames, compact=True)
        text = scrub("".join(summary.format()))
        if len(text.encode(errors="replace")) <= LIMIT_BYTES:
            return text
    half = (LIMIT_BYTES - len(CUT.encode())) // 2
    whole = text.encode(errors="replace")
    first, last = whole[:half], whole[-half:]
    return first.decode(errors="ignore") + CUT + last.decode(errors="ignore")


def _location(trace: TracebackException) -> str:
    """The innermost frame outside of installed packages, or else the innermost frame."""
    frames: list[FrameSummary] = list(trace.stack)
    own = [frame for frame in frames if not frame.filename.startswith((*INSTALLED, "<"))]
    for frame in reversed(own or frames):
        return f"{_short(frame.filename)}:{frame.lineno} in {frame.name}"
    return ""


def _short(filename: str) -> str:
    """The path relative to the folder of ``sys.path`` in which it lies."""
    for folder in sys.path:
        if folder and filename.startswith(str(Path(folder).absolute()) + "/"):
            return str(Path(filename).relative_to(Path(folder).absolute()))
    return filename
