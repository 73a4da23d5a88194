"""Measure a backlog for Taskyard and every peer, by the rule of peers/backlog.py."""

from collections.abc import Iterable
from functools import partial

from benchmarks.figures import Figure, interleaved, ratio, value
from benchmarks.figures import per_second as form
from benchmarks.peers import PEERS
from benchmarks.peers.backlog import Program, drain, python
from benchmarks.peers.stage import Stage, rows
from benchmarks.services import services

COUNT, SLOW_COUNT, SLOWEST_COUNT, SHORT_COUNT = 50_000, 5_000, 2_000, 200
# They take many seconds for a few thousand.
SLOW = ("celery", "celery-per-task", "procrastinate", "saq", "taskiq", "dramatiq")
SLOWEST = ("ordinary", "ordinary-kept")
# Peers without a target; their figures are for orientation.
ROUNDS = 3
WANTED = {"celery": 40.0, "pgqueuer": 1.5, "bullmq": 1.5, "graphile-worker": 1.0}
TASKYARD = Program(
    fill=python("benchmarks.peers.taskyard", "fill"),
    work=python("benchmarks.peers.taskyard", "work"),
    left=lambda stage: rows(stage, "SELECT count(*) FROM taskyard_task WHERE finished_at IS NULL"),
    kept=python("benchmarks.peers.taskyard", "kept"),
    copies=1,
    gated=False,
)


def ask(rounds: int, short: bool) -> list[Figure]:
    # The suite drains every peer in its short form already (tests/benchmarks/test_peers.py).
    names = WANTED if short else PEERS
    others = [name for name in names if name not in WANTED]
    with services() as servers:

        def play(peers: Iterable[str], times: int) -> dict[str, list[float]]:
            measures = {name: partial(_peer, servers, name, short) for name in peers}
            measures["taskyard"] = partial(
                drain, TASKYARD, servers, SHORT_COUNT if short else COUNT
            )
            return interleaved(measures, times)

        found = play(WANTED, rounds)
        beside = play(others, min(rounds, ROUNDS)) if others else {}
    return [
        value("drain, results and quota kept", found["taskyard"], form),
        *(_against(name, found) for name in WANTED),
        *(_against(name, beside) for name in others),
    ]


def _against(name: str, found: dict[str, list[float]]) -> Figure:
    return ratio(
        f"drain against {name}{'' if PEERS[name].keeps_result else ' (keeps no result)'}",
        WANTED.get(name),
        ("taskyard", found["taskyard"]),
        (name, found[name]),
    )


def _peer(servers: Stage, name: str, short: bool) -> float:
    count = SLOWEST_COUNT if name in SLOWEST else SLOW_COUNT if name in SLOW else COUNT
    return PEERS[name].drain(servers, SHORT_COUNT if short else count)
