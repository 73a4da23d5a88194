"""What became of a task, span by span: it waited, ran, waited again, and ended."""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from taskyard.core import messages
from taskyard.core.history import PastAttempt
from taskyard.core.models import Task
from taskyard.core.states import TERMINAL

# A span so short is still seen in the strip.
NARROWEST = 0.6
WIDTH = 100.0


@dataclass(frozen=True)
class Span:
    """``kind`` is wait, run, sleep or failed; ``end`` is None while it lasts."""

    kind: str
    label: str
    start: datetime
    end: datetime | None
    note: str = ""
    code: str = ""
    traceback: str = ""


@dataclass(frozen=True)
class Piece:
    """A span as it is drawn: from where and how wide, of WIDTH."""

    kind: str
    x: str
    width: str


def spans(task: Task, attempts: list[PastAttempt]) -> list[Span]:
    """In order, without gaps."""
    found: list[Span] = []
    at = task.created_at
    if task.run_at is not None and task.run_at > at:
        end = min(filter(None, (task.run_at, task.finished_at)))
        found.append(Span("wait", _("Delayed"), at, end if end <= timezone.now() else None))
        at = end
    for attempt in attempts:
        start = max(attempt.started_at or at, at)
        if start > at:
            found.append(Span("wait", _("Waited"), at, start))
        found.append(_ran(task, attempt, start))
        at = attempt.ended_at or start
    if task.status in TERMINAL:
        if task.finished_at is not None and at < task.finished_at:
            found.append(Span("wait", _("Waited"), at, task.finished_at))
    elif not found or found[-1].end is not None:
        label = _("Waits for the next attempt") if attempts else _("Waits")
        found.append(Span("wait", label, at, None))
    return found


def strip(found: list[Span]) -> list[Piece]:
    """The spans side by side, as long as they lasted."""
    if not found:
        return []
    now = timezone.now()
    lengths = [max(((each.end or now) - each.start).total_seconds(), 0.0) for each in found]
    whole = sum(lengths) or 1.0
    widths = [max(WIDTH * length / whole, NARROWEST) for length in lengths]
    scale = WIDTH / sum(widths)
    pieces, x = [], 0.0
    for each, width in zip(found, widths, strict=True):
        pieces.append(Piece(each.kind, f"{x:.2f}", f"{width * scale:.2f}"))
        x += width * scale
    return pieces


def _ran(task: Task, attempt: PastAttempt, start: datetime) -> Span:
    label = _("Attempt %(number)s") % {"number": attempt.number}
    if attempt.outcome == "suspended":
        return Span("sleep", label, start, None, _("sleeps and uses no worker"))
    if attempt.outcome in ("failed", "lost", "error"):
        note = messages.of_failure(attempt.error_message)
        shown = attempt.traceback if settings.TASKYARD_SHOW_TRACEBACKS else ""
        return Span("failed", label, start, attempt.ended_at, note, attempt.error_code, shown)
    if attempt.outcome == "handed_back":
        return Span("wait", label, start, None, _("returned to the queue by a worker that stopped"))
    return Span("run", label, start, attempt.ended_at)
