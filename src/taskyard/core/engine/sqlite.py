"""SQLite: the same changes, each in an IMMEDIATE transaction: one process writes at a time.

The database's clock is this machine's clock.
"""

import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import BooleanField, Q
from django.db.models.expressions import RawSQL

from taskyard.core.engine import owners
from taskyard.core.engine.rows import (
    EPOCH,
    LEAST_RESULT_BYTES,
    ClaimedRow,
    LockedRow,
    SubmittedRow,
    next_in,
    rows_of,
)
from taskyard.core.models import Clock
from taskyard.core.proofs import Proof
from taskyard.core.states import TERMINAL, Status
from taskyard.core.types import DEFAULTS, AttemptResult, ClaimedTask, NewTask, UserId

# Take the quota places of new tasks, if the quota allows all of them.
TAKE_PLACES = """
UPDATE taskyard_quota SET active = active + %(count)s, bytes = bytes + %(count)s * %(size)s,
    rate_at = max(rate_at, %(clock)s) + %(count)s * %(interval)s
WHERE user_id = %(owner)s
  AND active + %(count)s <= COALESCE(active_limit, %(limit)s)
  AND bytes + %(count)s * %(size)s <= %(budget)s
  AND max(rate_at, %(clock)s) + %(count)s * %(interval)s <= %(clock)s + %(burst)s
"""

# Insert new tasks, in their order.
INSERT = """
INSERT INTO taskyard_task (
    owner_id, task_type, queue, input_data, status, error_code, error_message, tags, priority,
    timeout_seconds, retry_of_id, run_at, wake_at, ready, attempt, max_attempts, fence, resumes,
    slept, created_at, changed, size)
SELECT %(owner)s, value ->> 'task_type', value ->> 'queue', value -> 'input_data', 'pending', '',
    '', COALESCE(value -> 'tags', '[]'), COALESCE(value ->> 'priority', {priority}),
    value ->> 'timeout_seconds',
    value ->> 'retry_of_id', due, CASE WHEN due > %(now)s THEN due END,
    due IS NULL OR due <= %(now)s,
    0, COALESCE(value ->> 'max_attempts', {max_attempts}), 0, 0, 0, %(now)s, %(change)s,
    %(size)s
FROM (
    SELECT key, value, CASE WHEN value ->> 'delay_microseconds' IS NULL THEN value ->> 'run_at'
        ELSE substr(django_format_dtdelta(
            '+', %(now)s, value ->> 'delay_microseconds') || '.000000', 1, 26) END AS due
    FROM json_each(%(rows)s)
) ORDER BY key
RETURNING id, ready
""".format(**DEFAULTS)  # noqa: S608

# Number the next change.
TICK = """
INSERT INTO taskyard_clock (id, ticks) VALUES (1, 1)
ON CONFLICT (id) DO UPDATE SET ticks = ticks + 1 RETURNING ticks
"""

# Find the next tasks, and which fit: those before the first whose type's batch is full.
PICK = """
WITH picked AS (
    SELECT id, task_type, priority FROM taskyard_task
    WHERE ready AND queue = %(queue)s
      AND %(batch_sizes)s ->> ('$."' || task_type || '"') IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM taskyard_pausedqueue WHERE name = %(queue)s)
      AND EXISTS (SELECT 1 FROM taskyard_worker WHERE id = %(worker)s AND lease_until > %(now)s)
    ORDER BY priority DESC, id LIMIT %(limit)s
), numbered AS (
    SELECT id, row_number() OVER (ORDER BY priority DESC, id) AS n,
        %(batch_sizes)s ->> ('$."' || task_type || '"') AS cap
    FROM picked
)
SELECT id, n <= min(cap) OVER (ORDER BY n) FROM numbered
"""

# Claim the tasks that ``PICK`` found to fit.
CLAIM = """
UPDATE taskyard_task SET
    status = 'in_progress', ready = 0, worker_id = %(worker)s, process = %(process)s,
    fence = fence + 1, attempt = attempt + CASE WHEN resumes THEN 0 ELSE 1 END, resumes = 0,
    claimed_at = CASE WHEN resumes AND status = 'in_progress' THEN claimed_at ELSE %(now)s END,
    started_at = COALESCE(started_at, %(now)s),
    changed = CASE WHEN resumes AND status = 'in_progress' THEN changed ELSE %(change)s END
WHERE id IN (SELECT value FROM json_each(%(chosen)s))
RETURNING id, task_type, fence, attempt, max_attempts, input_data, checkpoint, slept,
    timeout_seconds, started_at, claimed_at, cancel_requested_at, has_files, priority, owner_id
"""


def _claimed_row(columns: tuple[Any, ...], *, now: datetime, looked_at: int) -> ClaimedRow:
    """Read the columns of ``CLAIM``."""
    *stored, started, began, cancel_requested_at, has_files, priority, owner_id = columns
    task = ClaimedTask._make(
        (
            *stored,
            *(_aware(started), _aware(began), now),
            *(cancel_requested_at is not None, bool(has_files)),
        )
    )
    return ClaimedRow(task, priority, owner_id, looked_at)


# Find the next tasks of the fast path.
LOCK = """
SELECT id, task_type, fence + 1, attempt + CASE WHEN resumes THEN 0 ELSE 1 END, max_attempts,
    input_data, timeout_seconds, max_attempts = 1 OR resumes
FROM taskyard_task
WHERE ready AND queue = %(queue)s AND %(batch_sizes)s ->> ('$."' || task_type || '"') IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM taskyard_pausedqueue WHERE name = %(queue)s)
ORDER BY priority DESC, id LIMIT %(limit)s
"""


def _locked_rows(rows: list[tuple[Any, ...]], now: datetime) -> list[LockedRow]:
    """Read the columns of ``LOCK``."""
    return [
        LockedRow(
            ClaimedTask(
                task_id, task_type, fence, attempt, most, data, None, 0, timeout, now, now, now
            ),
            must_be_claimed,
        )
        for task_id, task_type, fence, attempt, most, data, timeout, must_be_claimed in rows
    ]


# Write how attempts ended, if they are ``current``.
_WRITE = """
UPDATE taskyard_task SET
    status = r.value ->> 'status', ready = COALESCE(r.value ->> 'ready', 0),
    wake_at = r.value ->> 'wake_at', resumes = COALESCE(r.value ->> 'resumes', 0),
    worker_id = NULL, process = NULL, result = nullif(r.value -> 'result', 'null'),
    error_code = COALESCE(r.value ->> 'error_code', ''),
    error_message = COALESCE(r.value ->> 'error_message', ''),
    progress = COALESCE(r.value -> 'progress', progress),
    checkpoint = nullif(r.value -> 'checkpoint', 'null'),
    slept = COALESCE(r.value ->> 'slept', 0), size = size + COALESCE(r.value ->> 'bytes', 0),{also}
    finished_at = CASE WHEN r.value ->> 'terminal' THEN %(now)s END,
    changed = CASE WHEN r.value ->> 'status' = 'in_progress' AND r.value ->> 'progress' IS NULL
        THEN changed ELSE %(change)s END
FROM json_each(%(rows)s) AS r
WHERE taskyard_task.id = r.value ->> 'id' AND {current}
RETURNING taskyard_task.id, owner_id, finished_at, status
"""

# The end of attempts that were claimed.
FINISH = _WRITE.format(
    also="",
    current="fence = r.value ->> 'fence' AND status = 'in_progress' AND worker_id IS NOT NULL",
)

# Claim and end in one; no other process writes in this transaction.
FINISH_UNCLAIMED = _WRITE.format(
    also="""
    fence = r.value ->> 'fence', attempt = r.value ->> 'attempt', claimed_at = %(now)s,
    started_at = COALESCE(started_at, %(now)s),""",
    current="fence = r.value ->> 'fence' - 1 AND ready",
)

# Release the places of tasks that ended: lists of owner, status and bytes.
RELEASE = """
UPDATE taskyard_quota SET
    active = active - owed.places,
    completed = taskyard_quota.completed + owed.completed,
    error = taskyard_quota.error + owed.error,
    cancelled = taskyard_quota.cancelled + owed.cancelled,
    bytes = taskyard_quota.bytes + owed.bytes
FROM (
    SELECT value ->> 0 AS owner, count(*) AS places, sum(value ->> 2) AS bytes,
        count(*) FILTER (WHERE value ->> 1 = 'completed') AS completed,
        count(*) FILTER (WHERE value ->> 1 = 'error') AS error,
        count(*) FILTER (WHERE value ->> 1 = 'cancelled') AS cancelled
    FROM json_each(%(ended)s) GROUP BY 1
) AS owed
WHERE user_id = owed.owner
"""


def submit(params: dict[str, Any], proof: Proof | None = None) -> list[SubmittedRow]:
    """Take the places and insert the tasks."""
    params = {**params, "owner": owners.to_column(params["owner"]), "clock": time.time()}
    take_places = TAKE_PLACES
    if proof is not None:
        params["proof"] = proof.value
        take_places = f"{TAKE_PLACES}  AND {proof.condition}"
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(take_places, params)
        return _insert(params) if cursor.rowcount else []


def insert(new: Sequence[NewTask], rows: str, size: int) -> list[SubmittedRow]:
    """Insert system tasks."""
    # No savepoint in a transaction of the caller: if the insert fails, a number is left out.
    with nullcontext() if connection.in_atomic_block else transaction.atomic():
        return _insert({"owner": None, "rows": rows, "size": size})


def _insert(params: dict[str, Any]) -> list[SubmittedRow]:
    stamp = _stamp()
    with connection.cursor() as cursor:
        cursor.execute(INSERT, {**params, **stamp})
        created_us = (_aware(stamp["now"]) - EPOCH) // timedelta(microseconds=1)
        return [(task_id, created_us, ready) for task_id, ready in cursor.fetchall()]


def claim(
    queue: str, batch_sizes: dict[str, int], *, worker_id: int, process: int
) -> list[ClaimedRow]:
    """Claim the next ready tasks for a process."""
    params = {**next_in(queue, batch_sizes), "worker": worker_id, "process": process}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(PICK, {**params, "now": moment(datetime.now(UTC))})
        picked = cursor.fetchall()
        if not picked:
            return []
        chosen = str([task_id for task_id, fits in picked if fits])
        stamp = _stamp()
        cursor.execute(CLAIM, {**params, **stamp, "chosen": chosen})
        rows = cursor.fetchall()
    now = _aware(stamp["now"])
    return owners.of_claimed([_claimed_row(row, now=now, looked_at=len(picked)) for row in rows])


def lock(queue: str, batch_sizes: dict[str, int]) -> list[LockedRow]:
    """Find the next ready tasks; no other process writes in this transaction."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, next_in(queue, batch_sizes))
        return _locked_rows(cursor.fetchall(), datetime.now(UTC))


def finish(results: Sequence[AttemptResult]) -> dict[int, UserId | None]:
    """Write how claimed attempts ended."""
    return _write(FINISH, results)


def finish_unclaimed(results: Sequence[AttemptResult]) -> dict[int, UserId | None]:
    """Write claim and end of locked tasks."""
    return _write(FINISH_UNCLAIMED, results)


def release(ended: Sequence[tuple[UserId | None, Status]]) -> None:
    """Release the places of tasks that other statements have ended."""
    _release([(owners.to_column(owner_id), status, 0) for owner_id, status in ended])


def _write(statement: str, results: Sequence[AttemptResult]) -> dict[int, UserId | None]:
    # Here, because RETURNING does not know the rows that were given.
    sizes = {
        result.task.id: len(result.result)
        for result in results
        if len(result.result) > LEAST_RESULT_BYTES and result.status in TERMINAL
    }
    params = {"rows": rows_of(results, moment)}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, params | _stamp())
        rows = cursor.fetchall()
        ended = [
            (owner_id, status, sizes.get(task_id, 0))
            for task_id, owner_id, finished_at, status in rows
            if finished_at
        ]
        _release(ended)
    return owners.by_task((task_id, owner_id) for task_id, owner_id, _, _ in rows)


def _release(ended: list[tuple[Any, str, int]]) -> None:
    """Release places: the column's value for the owner, the status and the bytes of the result."""
    owned = [row for row in ended if row[0] is not None]
    if owned:
        with connection.cursor() as cursor:
            cursor.execute(RELEASE, {"ended": json.dumps(owned)})


def wait_for_locks(seconds: float) -> None:
    """Do nothing: SQLite locks the whole file, and no row."""


ID_IN = "IN (SELECT value FROM json_each(%s))"


def ids(task_ids: list[int]) -> str:
    """The parameter of ``ID_IN``."""
    return json.dumps(task_ids)


def id_in(task_ids: list[int]) -> RawSQL:
    """Tasks with these ids, with one parameter for any number of them."""
    return RawSQL(
        "taskyard_task.id IN (SELECT value FROM json_each(%s))",
        [ids(task_ids)],
        output_field=BooleanField(),
    )


def moment(when: datetime) -> str:
    """A time as Django stores it on SQLite, which compares times as text."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def change() -> int:
    """The next tick, as the number of this change."""
    with connection.cursor() as cursor:
        cursor.execute(TICK)
        return int(cursor.fetchone()[0])


def snapshot() -> str:
    """What is visible now: the last tick."""
    ticks = Clock.objects.values_list("ticks", flat=True).first()
    return str(ticks or 0)


def between(since: str, until: str) -> Q:
    """Tasks that changed after ``since`` and not after ``until``: one process writes at a time."""
    changed = Q(changed__gt=int(since.split(":")[0]), changed__lte=int(until))
    # Two conditions, because active and ended tasks have an index each.
    return (Q(finished_at=None) & changed) | (Q(finished_at__isnull=False) & changed)


def ended_between(since: str, until: str) -> Q:
    """The same for tasks that ended, by the index ``task_ended``."""
    return Q(finished_at__isnull=False, changed__gt=int(since), changed__lte=int(until))


def step(since: str, until: str, most: int) -> str:
    """A snapshot between the two, at most ``most`` ticks after ``since``."""
    return str(min(int(until), int(since) + most))


def _stamp() -> dict[str, Any]:
    return {"now": moment(datetime.now(UTC)), "change": change()}


def _aware(value: str | datetime) -> datetime:
    naive = datetime.fromisoformat(value) if isinstance(value, str) else value
    return naive.replace(tzinfo=UTC)
