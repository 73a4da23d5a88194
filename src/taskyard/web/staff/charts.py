"""Bars, drawn on the server: where each rectangle of the SVG stands."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taskyard.web.staff.history_stats import Window

HEIGHT = 100.0
GAP = 0.2


@dataclass(frozen=True)
class Bar:
    """What ended in one part of the window, failures on top. In units of the picture."""

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
    """``highest`` is the tallest bar's number."""

    bars: list[Bar]
    width: int
    highest: int
    completed: int
    failed: int
    window: Window

    @property
    def middle(self) -> datetime:
        return self.window.since + self.window.length / 2


def draw(window: Window) -> Chart:
    both = list(zip(window.completed, window.failed, strict=True))
    highest = max(completed + failed for completed, failed in both)
    return Chart(
        bars=list(_bars(both, highest, window)),
        width=len(both),
        highest=highest,
        completed=sum(window.completed),
        failed=sum(window.failed),
        window=window,
    )


def _bars(both: list[Any], highest: int, window: Window) -> Iterator[Bar]:
    for number, (completed, failed) in enumerate(both):
        scale = HEIGHT / highest if highest else 0.0
        # One failure among a thousand must be seen.
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
            since=window.since + window.length / len(both) * number,
        )
