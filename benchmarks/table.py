"""The table of docs/performance.md: measure each question, save the raw numbers, render them."""

import dataclasses
import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import versions
from benchmarks.figures import Figure

ROOT = Path(__file__).parent.parent
LATEST = ROOT / "benchmarks" / "results" / "latest.json"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
HEAD = "| what | wanted | measured | spread | absolute | holds |"
# A figure that only a plot needs, and the plots: file and title by question.
PLOT = "(plot)"
PLOTS = {
    "create": ("throughput", "Creates a second against connections"),
    "history": ("history", "Rate with old rows of the same user, of the rate without"),
    "wake-ups": ("wake-ups", "Lateness of wake-ups, seconds"),
}

Ask = Callable[[int, bool], list[Figure]]


def run(
    questions: Mapping[str, Ask], rounds: int, short: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure each question and print a row as soon as it is known, or the failure."""
    measured_on = {"machine": versions.machine(), "versions": versions.versions()}
    for name, ask in questions.items():
        began = time.monotonic()
        print(f"--- {name}", flush=True)
        try:
            figures = ask(rounds, short)
        except Exception:
            traceback.print_exc()
            yield name, {"error": traceback.format_exc(limit=3)}
            continue
        for figure in figures:
            print(row(dataclasses.asdict(figure)), flush=True)
        took = time.monotonic() - began
        print(f"    {took:.0f} s", flush=True)
        answer = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "rounds": rounds,
            "seconds": round(took),
            **measured_on,
            "figures": [dataclasses.asdict(figure) for figure in figures],
        }
        if name == "drain":
            answer["peers"] = versions.peers()
        yield name, answer


def keep(answers: Mapping[str, dict[str, Any]], latest: Path = LATEST) -> dict[str, Any]:
    """Replace the older answers; if a question failed, its older answer stays."""
    kept = read(latest)
    kept |= {name: answer for name, answer in answers.items() if "figures" in answer}
    latest.parent.mkdir(parents=True, exist_ok=True)
    latest.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    return kept


def read(latest: Path = LATEST) -> dict[str, Any]:
    """The saved figures by question."""
    kept: dict[str, Any] = json.loads(latest.read_text()) if latest.exists() else {}
    return kept


def write(kept: Mapping[str, Any], order: Sequence[str], page: Path = PAGE) -> None:
    """The table between the marks of the page."""
    text = page.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{render(kept, order)}\n{END}{after}")


def render(kept: Mapping[str, Any], order: Sequence[str]) -> str:
    if not kept:
        return "Not measured yet: `make bench`."
    figures = [figure for name in order if name in kept for figure in kept[name]["figures"]]
    rows = [row(figure) for figure in figures if not figure["what"].endswith(PLOT)]
    drawn = [
        f"\n![{title}](plots/{file}.svg)" for name, (file, title) in PLOTS.items() if name in kept
    ]
    answered = [kept[name] for name in order if name in kept]
    dates = sorted({answer["at"][:10] for answer in answered})
    machines = ", ".join(sorted({answer["machine"] for answer in answered}))
    rounds = sorted({answer["rounds"] for answer in answered})
    times = " or ".join(str(each) for each in rounds)
    parts: dict[str, list[str]] = {}
    for answer in answered:
        for name, version in answer["versions"].items():
            found = parts.setdefault(name, [])
            found += [version] * (version not in found)
    built = ", ".join(f"{name} {' and '.join(found)}" for name, found in parts.items())
    note = (
        f"{' and '.join(dates)}, {machines}; {built}. "
        f"Medians of {times} rounds; the spread is from the least to the most of them."
    )
    ruler = "| --- | --- | --- | --- | --- | --- |"
    return "\n".join([note, "", HEAD, ruler, *rows, *drawn, *_peers(kept)])


def _peers(kept: Mapping[str, Any]) -> list[str]:
    peers = kept.get("drain", {}).get("peers", [])
    rows = [f"| {peer['name']} | {peer['version']} | {peer['setting']} |" for peer in peers]
    return rows and ["", "| peer | version | how it was set |", "| --- | --- | --- |", *rows]


def row(figure: Mapping[str, Any]) -> str:
    holds = {True: "yes", False: "**no**", None: "–"}[figure["holds"]]
    cells = [
        *(figure[name] for name in ("what", "wanted", "measured", "spread", "absolute")),
        holds,
    ]
    return f"| {' | '.join(cell or '–' for cell in cells)} |"
