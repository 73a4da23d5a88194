"""Figures, the answers to a question, and how alternating measurements become one figure."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Measure = Callable[[], float]


@dataclass(frozen=True)
class Figure:
    """A row of the table. `holds` is None if there is no target; `raw` has every number."""

    what: str
    wanted: str
    measured: str
    spread: str
    absolute: str
    holds: bool | None
    raw: Mapping[str, Sequence[float]] = field(default_factory=dict)


def interleaved(measures: Mapping[str, Measure], rounds: int) -> dict[str, list[float]]:
    """Run every measure once, then all again, so that a disturbance affects all of them alike."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            found[name].append(measure())
    return found


def ratio(
    what: str,
    at_least: float | None,
    ours: tuple[str, Sequence[float]],
    theirs: tuple[str, Sequence[float]],
) -> Figure:
    """Compare the medians; the spread is that of the rounds, each of which measured both."""
    each = [mine / other for mine, other in zip(ours[1], theirs[1], strict=True)]
    value = statistics.median(ours[1]) / statistics.median(theirs[1])
    return Figure(
        what=what,
        wanted="–" if at_least is None else f"≥ {at_least:g}×",
        measured=f"{_short(value)}×",
        spread=f"{_short(min(each))}–{_short(max(each))}×",
        absolute=", ".join(
            f"{name} {statistics.median(values):,.0f}/s" for name, values in (ours, theirs)
        ),
        holds=None if at_least is None else value >= at_least,
        raw={name: list(values) for name, values in (ours, theirs)},
    )


def value(
    what: str,
    values: Sequence[float],
    form: Callable[[float], str],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    absolute: str = "",
) -> Figure:
    """A number of our own with a bound, or without one."""
    middle = statistics.median(values)
    wanted, holds = "–", None
    if at_least is not None:
        wanted, holds = f"≥ {form(at_least)}", middle >= at_least
    if at_most is not None:
        wanted, holds = f"≤ {form(at_most)}", middle <= at_most
    return Figure(
        what=what,
        wanted=wanted,
        measured=form(middle),
        spread=f"{form(min(values))}–{form(max(values))}" if len(values) > 1 else "",
        absolute=absolute,
        holds=holds,
        raw={what: list(values)},
    )


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def per_second(number: float) -> str:
    return f"{number:,.0f}/s"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def seconds(number: float) -> str:
    return f"{number:.2f} s"


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 20 else f"{number:.1f}" if number >= 3 else f"{number:.2f}"


def until(condition: Callable[[], bool], patience: float, what: str) -> None:
    """Wait until it is true. Raises after a timeout, because a benchmark must not wait for ever."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {patience:g} s")
        time.sleep(0.02)
