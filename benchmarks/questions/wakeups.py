"""Measure the delay of many sleeping tasks that fall due at nearly the same time."""

from benchmarks.figures import Figure, percentile, seconds, until, value
from benchmarks.services import services
from benchmarks.system import books
from benchmarks.system_under_test import SystemUnderTest, system_under_test

COUNT, SHORT_COUNT = 10_000, 300
WITHIN_SECONDS, SHORT_WITHIN_SECONDS = 10.0, 2.0
# Before the first is due, all of them must have been submitted and must sleep.
LEAD_SECONDS, SHORT_LEAD_SECONDS = 20.0, 4.0

SUBMIT = """
import time
from taskyard.accounts.models import User
from taskyard.core import lifecycle
from taskyard.core.types import NewTask
users = list(User.objects.order_by("id"))
first_due = time.time() + {lead}
new = [
    NewTask(
        task_type="nap",
        queue="default",
        input_data={{"due": first_due + n * {within} / {count}}},
    )
    for n in range({count})
]
for n in range(0, len(new), 100):
    lifecycle.submit_all(users[n // 100 % len(users)].pk, new[n:n + 100])
print(first_due)
"""


def ask(rounds: int, short: bool) -> list[Figure]:
    count = SHORT_COUNT if short else COUNT
    late: list[list[float]] = []
    with (
        services() as servers,
        system_under_test(
            servers.postgresql, users=100, TASKYARD_TASK_TYPES="benchmarks.task_types"
        ) as own,
    ):
        own.start_worker()
        for _ in range(rounds):
            late.append(_round(own, count, short))
    name = f"wake-ups of {count:,} due within {_within(short):g} s, lateness"
    figures = [
        value(f"{name} p50", [percentile(each, 0.5) for each in late], seconds),
        value(f"{name} p99", [percentile(each, 0.99) for each in late], seconds, at_most=0.5),
    ]
    shares = [share / 100 for share in range(0, 100, 2)] + [0.99, 0.995, 0.999]
    curve = {
        "share": shares,
        "late": [percentile([one for each in late for one in each], share) for share in shares],
    }
    line = Figure("wake-ups by share (plot)", "", "", "", f"{len(late)} rounds", None, curve)
    return [*figures, line]


def _within(short: bool) -> float:
    return SHORT_WITHIN_SECONDS if short else WITHIN_SECONDS


def _round(own: SystemUnderTest, count: int, short: bool) -> list[float]:
    lead = SHORT_LEAD_SECONDS if short else LEAD_SECONDS
    with books(own) as ask:
        last = int(ask("SELECT coalesce(max(id), 0) FROM taskyard_task")[0][0])
        script = SUBMIT.format(count=count, lead=lead, within=_within(short))
        first_due = float(own.command("manage", "shell", "--no-imports", "-c", script))
        done = f"SELECT count(*) FROM taskyard_task WHERE id > {last} AND status = 'completed'"
        until(lambda: ask(done)[0][0] == count, lead + _within(short) + 60, "all awake")
        asleep = ask(
            f"SELECT max(extract(epoch FROM started_at)) FROM taskyard_task WHERE id > {last}"
        )[0][0]
        assert float(asleep) < first_due, "some were put to sleep only after others were due"
        rows = ask(
            "SELECT extract(epoch FROM finished_at)::float8 - (input_data::json->>'due')::float8"
            f" FROM taskyard_task WHERE id > {last}"
        )
    return [float(row[0]) for row in rows]
