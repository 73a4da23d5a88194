"""Measure the cost of old rows: one user with N finished tasks, another with almost none."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import psycopg

from benchmarks.figures import Figure, interleaved, ratio
from benchmarks.services import services
from benchmarks.system import books
from benchmarks.system_under_test import SystemUnderTest, system_under_test

# Ten pages, so that both users get the same responses; drains add to them.
FEW = 100
SIZES = (100_000, 1_000_000, 10_000_000)
SHORT_SIZES = (20_000,)
DRAINED = 20_000
CONNECTIONS = 8
SECONDS, SHORT_SECONDS = 2, 1
AT_LEAST = 0.8

# Every column as a submit and a quick run leave it; `changed` grows as transactions do.
HISTORY = """
INSERT INTO taskyard_task (
    owner_id, task_type, queue, input_data, status, result, error_code, error_message, tags,
    priority, created_at, started_at, claimed_at, finished_at, attempt, max_attempts, fence,
    ready, resumes, slept, changed)
SELECT %(owner)s, 'sum', 'default', jsonb_build_object('numbers', jsonb_build_array(n, 1)),
    'completed', jsonb_build_object('result', n + 1), '', '', '[]', 1, at, at, at,
    at + interval '5 milliseconds', 1, 3, 1, false, false, 0, 100 + n / 500
FROM generate_series(1, %(count)s) AS n,
    LATERAL (SELECT now() - interval '1 day' + n * interval '5 milliseconds' AS at) AS moments
"""


@dataclass(frozen=True)
class Side:
    """One of the two users, and the page of the list to read."""

    own: SystemUnderTest
    middle: int
    seconds: int

    def page(self) -> float:
        return self._get("/api/tasks/")

    def after(self) -> float:
        return self._get(f"/api/tasks/?after={self.middle}")

    def detail(self) -> float:
        return self._get(f"/api/tasks/{self.middle}/")

    def _get(self, path: str) -> float:
        return self.own.target.get([path], CONNECTIONS, self.seconds).per_second

    def create(self) -> float:
        return self.own.target.create(CONNECTIONS, self.seconds).per_second

    def drain(self, count: int) -> float:
        return self.own.drain(count, owners=1)


def ask(rounds: int, short: bool) -> list[Figure]:
    sizes = SHORT_SIZES if short else SIZES
    seconds = SHORT_SECONDS if short else SECONDS
    curve: dict[str, list[float]] = {"rows": [float(size) for size in sizes]}
    figures: list[Figure] = []
    with ExitStack() as stack:
        servers = stack.enter_context(services())
        few, many = (
            stack.enter_context(system_under_test(servers.postgresql, users=1)) for _ in range(2)
        )
        little = Side(few, _add(few, FEW), seconds)
        there = 0
        for size in sizes:
            much = Side(many, _add(many, size - there), seconds)
            there = size
            figures = _compare(little, much, rounds if size == sizes[-1] else 1, short, curve)
    line = Figure("cost of history by rows (plot)", "", "", "", f"{len(sizes)} sizes", None, curve)
    return [*figures, line]


def _compare(
    little: Side, much: Side, rounds: int, short: bool, curve: dict[str, list[float]]
) -> list[Figure]:
    # The creates come last, so that no worker has to run the tasks that they leave.
    asked: dict[str, Callable[[Side], float]] = {
        "drain": lambda side: side.drain(DRAINED),
        "list, page 1": Side.page,
        "list, `after` in the middle": Side.after,
        "detail": Side.detail,
        "create": Side.create,
    }
    sides = {"few": little, "old rows": much}
    figures = []
    for what, measure in asked.items():
        if short and what not in ("list, page 1", "create"):
            continue  # as the first page by another address, and as every other drain
        if what != "drain" and not short:
            for side in sides.values():
                measure(side)
        found = interleaved({name: partial(measure, side) for name, side in sides.items()}, rounds)
        figure = ratio(
            f"{_size(much)} old rows of one user: {what}",
            AT_LEAST,
            ("old rows", found["old rows"]),
            ("few", found["few"]),
        )
        figures.append(figure)
        curve.setdefault(what, []).append(sum(found["old rows"]) / sum(found["few"]))
    return figures


def _size(side: Side) -> str:
    with books(side.own) as ask:
        ended = int(ask("SELECT max(completed) FROM taskyard_quota")[0][0])
    # Without the tasks that were drained since.
    digits = 10 ** (len(str(ended)) - 1)
    return f"{ended // digits * digits:,}"


def _add(own: SystemUnderTest, count: int) -> int:
    """Insert finished rows of the only user by SQL; return an id in their middle."""
    with psycopg.connect(own.env["DATABASE_URL"], autocommit=True) as connection:
        # The owner exists, and a check of the foreign key of ten million rows takes minutes.
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        owner = _one(connection, "SELECT id FROM taskyard_accounts_user ORDER BY id LIMIT 1")
        given = {"owner": owner, "count": count}
        connection.execute(HISTORY, given)
        connection.execute(
            "UPDATE taskyard_quota SET completed = completed + %(count)s WHERE user_id = %(owner)s",
            given,
        )
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
        middle = _one(connection, "SELECT (min(id) + max(id)) / 2 FROM taskyard_task")
        return _one(connection, f"SELECT min(id) FROM taskyard_task WHERE id >= {middle}")


def _one(connection: "psycopg.Connection[tuple[int]]", statement: str) -> int:
    row = connection.execute(statement.encode()).fetchone()
    assert row is not None
    return row[0]
