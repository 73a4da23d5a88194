"""Bar charts as SVG, drawn on the server."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from taskyard.web.staff.history_stats import Window

HEIGHT = 100.0
GAP = 0.2


@dataclass(frozen=True)
class Bar:
    """The tasks that ended in one part of the window: failures are stacked on completions.

    Positions and sizes are in units of the SVG.
    """

    x: float
    width: float
    completed_y: float
    completed_height: float
    failed_y: float
    failed_height: float
    completed: int
    failed: int
    since: datetime


@dataclass(frozen=True)
class Chart:
    """A chart; ``highest`` is the number of tasks in the tallest bar."""

    bars: list[Bar]
    width: int
    highest: int
    completed: int
    failed: int
    window: Window

    @property
    def middle(self) -> datetime:
        """The time in the middle of the axis."""
        return self.window.since + self.window.length / 2


def draw(window: Window) -> Chart:
    counts = list(zip(window.completed, window.failed, strict=True))
    highest = max(completed + failed for completed, failed in counts)
    return Chart(
        bars=list(_bars(counts, highest, window)),
        width=len(counts),
        highest=highest,
        completed=sum(window.completed),
        failed=sum(window.failed),
        window=window,
    )


def _bars(counts: list[tuple[int, int]], highest: int, window: Window) -> Iterator[Bar]:
    for number, (completed, failed) in enumerate(counts):
        scale = HEIGHT / highest if highest else 0.0
        # A minimum height keeps one failure among a thousand visible.
        failed_height = max(failed * scale, 3.0) if failed else 0.0
        completed_height = min(completed * scale, HEIGHT - failed_height)
        yield Bar(
            x=number + GAP / 2,
            width=1 - GAP,
            completed_y=round(HEIGHT - completed_height, 2),
            completed_height=round(completed_height, 2),
            failed_y=round(HEIGHT - completed_height - failed_height, 2),
            failed_height=round(failed_height, 2),
            completed=completed,
            failed=failed,
            since=window.since + window.length / len(counts) * number,
        )
