"""The timeline of a task as spans: waits, attempts, sleeps."""

from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext as _

from taskyard.core import messages
from taskyard.core.conf import conf
from taskyard.core.history import PastAttempt
from taskyard.core.models import Task
from taskyard.core.states import TERMINAL

# A shorter span is drawn this wide, so that it stays visible.
MIN_WIDTH = 0.6
WIDTH = 100.0


@dataclass(frozen=True)
class Span:
    """One span. ``kind`` is wait, run, sleep or failed; ``end`` is None if it has not ended."""

    kind: str
    label: str
    start: datetime
    end: datetime | None
    note: str = ""
    code: str = ""
    traceback: str = ""


@dataclass(frozen=True)
class Segment:
    """A span in the SVG strip, whose width is WIDTH."""

    kind: str
    x: str
    width: str


def build_spans(task: Task, attempts: list[PastAttempt]) -> list[Span]:
    """The spans of a task from its creation, in order and without gaps."""
    spans: list[Span] = []
    at = task.created_at
    if task.run_at is not None and task.run_at > at:
        end = min(filter(None, (task.run_at, task.finished_at)))
        spans.append(Span("wait", _("Delayed"), at, end if end <= timezone.now() else None))
        at = end
    for attempt in attempts:
        start = max(attempt.started_at or at, at)
        if start > at:
            spans.append(Span("wait", _("Waited"), at, start))
        spans.append(_attempt_span(attempt, start))
        at = attempt.ended_at or start
    if task.status in TERMINAL:
        if task.finished_at is not None and at < task.finished_at:
            spans.append(Span("wait", _("Waited"), at, task.finished_at))
    elif not spans or spans[-1].end is not None:
        label = _("Waits for the next attempt") if attempts else _("Waits")
        spans.append(Span("wait", label, at, None))
    return spans


def build_strip(spans: list[Span]) -> list[Segment]:
    """The spans side by side, their widths proportional to their lengths."""
    if not spans:
        return []
    now = timezone.now()
    seconds = [max(((span.end or now) - span.start).total_seconds(), 0.0) for span in spans]
    total = sum(seconds) or 1.0
    widths = [max(WIDTH * length / total, MIN_WIDTH) for length in seconds]
    scale = WIDTH / sum(widths)
    segments, x = [], 0.0
    for span, width in zip(spans, widths, strict=True):
        segments.append(Segment(span.kind, f"{x:.2f}", f"{width * scale:.2f}"))
        x += width * scale
    return segments


def _attempt_span(attempt: PastAttempt, start: datetime) -> Span:
    label = _("Attempt %(number)s") % {"number": attempt.number}
    if attempt.outcome == "suspended":
        return Span("sleep", label, start, None, _("sleeps and uses no worker"))
    if attempt.outcome in ("failed", "lost", "error"):
        note = messages.of_failure(attempt.error_message)
        traceback = attempt.traceback if conf().SHOW_TRACEBACKS else ""
        return Span("failed", label, start, attempt.ended_at, note, attempt.error_code, traceback)
    if attempt.outcome == "handed_back":
        return Span("wait", label, start, None, _("returned to the queue by a worker that stopped"))
    return Span("run", label, start, attempt.ended_at)
