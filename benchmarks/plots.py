"""Three plots for docs/plots/, as SVG that is readable on a light page and on a dark one."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.table import PLOT, PLOTS, ROOT

DIRECTORY = ROOT / "docs" / "plots"
WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 180, 40, 50
# The colours differ in lightness too; the text has the colour of the page.
COLOURS = ("#2f81f7", "#d1741f", "#3f9e52", "#c0419f", "#8a8f98")
STYLE = """
text { font: 13px sans-serif; fill: #24292f } .grid { stroke: #8886 } .line { fill: none }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } }
"""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """Lines by name over one common axis; `logarithmic` is that of the axis."""

    title: str
    across: str
    lines: Mapping[str, Points]
    logarithmic: bool = False
    across_form: str = "{:g}"
    up_form: str = "{:,.0f}"


def draw(kept: Mapping[str, Any], directory: Path = DIRECTORY) -> None:
    """Each plot whose question was answered."""
    directory.mkdir(parents=True, exist_ok=True)
    makers: dict[str, Callable[[str, Mapping[str, list[float]]], Plot]] = {
        "create": _throughput,
        "history": _history,
        "wake-ups": _wake_ups,
    }
    for question, make in makers.items():
        name, title = PLOTS[question]
        for figure in kept.get(question, {}).get("figures", []):
            if figure["what"].endswith(PLOT):
                (directory / f"{name}.svg").write_text(svg(make(title, figure["raw"])))


def svg(plot: Plot) -> str:
    points = [point for line in plot.lines.values() for point in line]
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    step = _step(max(y for _, y in points))
    top = step * max(1, math.ceil(max(y for _, y in points) / step))

    def place(x: float, y: float) -> tuple[float, float]:
        if plot.logarithmic:
            share = math.log(x / first) / (math.log(last / first) or 1)
        else:
            share = (x - first) / ((last - first) or 1)
        return (
            LEFT + share * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM),
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(plot.title)}</title><style>{STYLE}</style>",
        _text(LEFT, 22, plot.title),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, plot.across, "middle"),
    ]
    for number in range(round(top / step) + 1):
        _, y = place(first, number * step)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(_text(LEFT - 8, y + 4, plot.up_form.format(number * step), "end"))
    for x in _marks(sorted({x for x, _ in points}), plot.logarithmic):
        parts.append(
            _text(place(x, 0)[0], HEIGHT - BOTTOM + 18, plot.across_form.format(x), "middle")
        )
    for number, (name, line) in enumerate(plot.lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        y = TOP + 10 + number * 20
        parts += [
            f'<polyline class="line" stroke="{colour}" stroke-width="2.5" points="{path}"/>',
            *(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
                for x, y in (place(*point) for point in line)
                if len(line) < 20
            ),
            f'<rect x="{WIDTH - RIGHT + 14}" y="{y - 9}" width="12" height="12" fill="{colour}"/>',
            _text(WIDTH - RIGHT + 32, y + 2, name),
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _throughput(title: str, raw: Mapping[str, list[float]]) -> Plot:
    counts = raw["connections"]
    names = sorted(set(raw) - {"connections"}, key=lambda name: -max(raw[name]))
    return Plot(
        title=title,
        across="connections",
        lines={name: list(zip(counts, raw[name], strict=True)) for name in names},
        logarithmic=True,
    )


def _history(title: str, raw: Mapping[str, list[float]]) -> Plot:
    return Plot(
        title=title,
        across="old rows",
        lines={
            name: list(zip(raw["rows"], values, strict=True))
            for name, values in raw.items()
            if name != "rows"
        },
        logarithmic=True,
        across_form="{:,.0f}",
        up_form="{:.2g}×",
    )


def _wake_ups(title: str, raw: Mapping[str, list[float]]) -> Plot:
    return Plot(
        title=title,
        across="share of the tasks that were not later",
        lines={"taskyard": list(zip(raw["share"], raw["late"], strict=True))},
        across_form="{:.0%}",
        up_form="{:g}",
    )


def _step(largest: float) -> float:
    """Between three and six lines, at round numbers."""
    size = 10.0 ** math.floor(math.log10(largest or 1))
    for part in (0.2, 0.25, 0.5, 1.0, 2.0):
        if largest / (size * part) <= 6:
            return size * part
    return size * 2


def _marks(values: list[float], logarithmic: bool) -> list[float]:
    if logarithmic or len(values) < 8:
        return values
    return values[:: len(values) // 5]


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
