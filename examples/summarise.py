"""Summarise a CSV of any length, and plot its numbers."""

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from taskyard import Accepts, Fail, InputFile, Run, task_type

ROWS_A_REPORT = 10_000
# Points of the plot; each is the mean of as many rows as it takes.
MOST_POINTS = 500

Table = Annotated[InputFile, Accepts("text/*", max_bytes=2_000_000_000)]


@dataclass
class Column:
    """What is kept of a column of numbers, however long it is."""

    count: int = 0
    total: float = 0.0
    least: float = math.inf
    most: float = -math.inf

    def add(self, number: float) -> None:
        self.count += 1
        self.total += number
        self.least = min(self.least, number)
        self.most = max(self.most, number)

    def summary(self) -> dict[str, float]:
        mean = self.total / self.count
        return {"count": self.count, "mean": mean, "min": self.least, "max": self.most}


class Curve:
    """A line of at most ``MOST_POINTS`` points: as numbers come, two neighbours become one."""

    def __init__(self) -> None:
        self.points: list[float] = []
        self._rows_a_point = 1
        self._pending: list[float] = []

    def add(self, number: float) -> None:
        self._pending.append(number)
        if len(self._pending) < self._rows_a_point:
            return
        self.points.append(sum(self._pending) / len(self._pending))
        self._pending = []
        if len(self.points) == MOST_POINTS:
            pairs = zip(self.points[::2], self.points[1::2], strict=True)
            self.points = [(first + second) / 2 for first, second in pairs]
            self._rows_a_point *= 2


@task_type("summarise", label="Summarise a CSV", timeout=3600)
def summarise(run: Run, table: Table) -> dict[str, Any]:
    """Count the rows, summarise each column of numbers, and save a plot of them as PNG."""
    columns: dict[str, Column] = {}
    curves: dict[str, Curve] = {}
    rows = 0
    for rows, (at, row) in enumerate(_rows(table), start=1):
        for name, text in row.items():
            if (number := _number(text)) is not None:
                columns.setdefault(name, Column()).add(number)
                curves.setdefault(name, Curve()).add(number)
        if rows % ROWS_A_REPORT == 0:
            run.progress(at, total=table.size, message=f"{rows:,} rows")
    run.progress(table.size, total=table.size, message=f"{rows:,} rows")
    if curves:
        run.save_file("plot.png", _plot(curves))
    return {"rows": rows, "columns": {name: each.summary() for name, each in columns.items()}}


def _rows(table: InputFile) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows by column, each with the bytes read so far."""
    with table.open() as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        try:
            reader = csv.reader(text)
            names = next(reader, None)
            if not names:
                raise Fail("no_header", "The first row has to name the columns.")
            for row in reader:
                yield stream.tell(), dict(zip(names, row, strict=False))
        except (UnicodeDecodeError, csv.Error) as error:
            raise Fail("not_a_csv", str(error)) from error


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _plot(curves: dict[str, Curve]) -> bytes:
    figure = Figure(figsize=(9, 2.2 * len(curves)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(curves), 1, squeeze=False)[:, 0]
    for place, (name, curve) in zip(axes, curves.items(), strict=True):
        place.plot(curve.points)
        place.set_ylabel(name)
    made = io.BytesIO()
    figure.savefig(made, format="png")
    return made.getvalue()
