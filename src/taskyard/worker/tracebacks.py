"""What a failed attempt leaves for its author: the traceback, and where in the author's code."""

import sys
import sysconfig
from pathlib import Path
from traceback import FrameSummary, TracebackException
from types import TracebackType

from taskyard.catalog.encoding import sanitize
from taskyard.core.types import Traceback

LIMIT_BYTES = 16 * 1024
FRAMES_KEPT = (50, 20, 10, 5, 2, 1)
LOCATION_LENGTH = 300
FRAMES_IN_THE_LOG = 20
CUT = "\n[… cut …]\n"
# Frames between the worker and the handler say nothing to its author.
OURS = ("taskyard.worker.", "taskyard.catalog.task_type", "taskyard.catalog.schema")
INSTALLED = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib"))


def describe(error: BaseException) -> Traceback:
    """The traceback of what a handler raised, with its causes, in at most 16 KiB of UTF-8.

    Where that is too little, the outer frames are left out.
    """
    began = _in_the_handler(error.__traceback__)
    innermost = TracebackException(type(error), error, began, limit=-FRAMES_KEPT[0], compact=True)
    return Traceback(
        exception_type=type(error).__qualname__[:LOCATION_LENGTH],
        location=sanitize(_location(innermost))[:LOCATION_LENGTH],
        text=sanitize(_fitting(error, began)),
    )


def frames_of(error: BaseException) -> str:
    """Where an exception and its causes came from, without their words: those may hold an input.

    The innermost frames of each, the last cause first.
    """
    pieces: list[str] = []
    trace = _in_the_handler(error.__traceback__)
    told: TracebackException | None = TracebackException(
        type(error), error, trace, limit=-FRAMES_IN_THE_LOG, compact=True
    )
    while told is not None:
        pieces.append("".join(told.stack.format()) + _name_of(told))
        told = told.__cause__ or told.__context__
    return sanitize("\n".join(reversed(pieces))[-LIMIT_BYTES:])


def _name_of(told: TracebackException) -> str:
    return told.exc_type.__qualname__ if told.exc_type else ""


def _in_the_handler(trace: TracebackType | None) -> TracebackType | None:
    inner = trace
    while inner and str(inner.tb_frame.f_globals.get("__name__")).startswith(OURS):
        inner = inner.tb_next
    return inner or trace


def _fitting(error: BaseException, began: TracebackType | None) -> str:
    for frames in FRAMES_KEPT:
        shown = TracebackException(type(error), error, began, limit=-frames, compact=True)
        text = "".join(shown.format())
        if len(text.encode(errors="replace")) <= LIMIT_BYTES:
            return text
    half = (LIMIT_BYTES - len(CUT.encode())) // 2
    whole = text.encode(errors="replace")
    first, last = whole[:half], whole[-half:]
    return first.decode(errors="ignore") + CUT + last.decode(errors="ignore")


def _location(trace: TracebackException) -> str:
    """The innermost frame of code that was not installed, or the innermost frame."""
    frames: list[FrameSummary] = list(trace.stack)
    own = [frame for frame in frames if not frame.filename.startswith((*INSTALLED, "<"))]
    for frame in reversed(own or frames):
        return f"{_short(frame.filename)}:{frame.lineno} in {frame.name}"
    return ""


def _short(filename: str) -> str:
    """The path from where Python looks for modules."""
    for folder in sys.path:
        if folder and filename.startswith(str(Path(folder).absolute()) + "/"):
            return str(Path(filename).relative_to(Path(folder).absolute()))
    return filename
