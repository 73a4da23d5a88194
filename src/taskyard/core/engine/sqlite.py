"""SQLite: the same changes, each in an IMMEDIATE transaction: one process writes at a time.

The database's clock is this machine's clock.
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

from django.db import connection, transaction
from django.db.models import BooleanField, Q
from django.db.models.expressions import RawSQL

from taskyard.core.engine import owners
from taskyard.core.engine.rows import (
    EPOCH,
    LEAST_RESULT_BYTES,
    ChosenOwners,
    Claimed,
    ClaimedRow,
    Locked,
    LockedRow,
    SubmittedRow,
    Waiter,
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
    slept, created_at, changed, size, band)
SELECT %(owner)s, value ->> 'task_type', value ->> 'queue', value -> 'input_data', 'pending', '',
    '', COALESCE(value -> 'tags', '[]'), COALESCE(value ->> 'priority', {priority}),
    value ->> 'timeout_seconds',
    value ->> 'retry_of_id', due, CASE WHEN due > %(now)s THEN due END,
    due IS NULL OR due <= %(now)s,
    0, COALESCE(value ->> 'max_attempts', {max_attempts}), 0, 0, 0, %(now)s, %(change)s,
    %(size)s, COALESCE(value ->> 'band', 0)
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

# Find the next tasks, owner by owner, and which fit: those before the first whose type's batch is
# full. The last column of the first row says whether these are of the only owner who waits.
PICK_ANY = """
WITH picked AS (
    SELECT id, task_type, band, owner_id, priority FROM taskyard_task
    WHERE ready AND queue = %(queue)s
      AND %(batch_sizes)s ->> ('$."' || task_type || '"') IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM taskyard_pausedqueue WHERE name = %(queue)s){and_leased}
    ORDER BY band DESC, owner_id, priority DESC, id LIMIT %(limit)s
), numbered AS (
    SELECT id, band, owner_id,
        row_number() OVER (ORDER BY band DESC, owner_id, priority DESC, id) AS n,
        %(batch_sizes)s ->> ('$."' || task_type || '"') AS cap
    FROM picked
)
SELECT id, n <= min(cap) OVER (ORDER BY n), band, CASE WHEN n = 1 THEN (
    SELECT last.band = numbered.band AND last.owner_id IS numbered.owner_id FROM (
        SELECT band, owner_id FROM taskyard_task WHERE ready AND queue = %(queue)s
        ORDER BY band, owner_id DESC LIMIT 1
    ) AS last) END
FROM numbered ORDER BY n
"""

# Find the next tasks of an owner whose turn it is.
PICK = """
WITH picked AS (
    SELECT id, task_type, priority FROM taskyard_task
    WHERE ready AND queue = %(queue)s AND band = %(band)s AND owner_id IS %(of)s
      AND %(batch_sizes)s ->> ('$."' || task_type || '"') IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM taskyard_pausedqueue WHERE name = %(queue)s){and_leased}
    ORDER BY priority DESC, id LIMIT %(each)s
)
SELECT id, %(batch_sizes)s ->> ('$."' || task_type || '"') FROM picked ORDER BY priority DESC, id
"""
AND_LEASED = """
      AND EXISTS (SELECT 1 FROM taskyard_worker WHERE id = %(worker)s AND lease_until > %(now)s)"""

# Claim the tasks that were found to fit.
CLAIM = """
UPDATE taskyard_task SET
    status = 'in_progress', ready = 0, worker_id = %(worker)s, process = %(process)s,
    fence = fence + 1, attempt = attempt + CASE WHEN resumes THEN 0 ELSE 1 END, resumes = 0,
    claimed_at = CASE WHEN resumes AND status = 'in_progress' THEN claimed_at ELSE %(now)s END,
    started_at = COALESCE(started_at, %(now)s),
    changed = CASE WHEN resumes AND status = 'in_progress' THEN changed ELSE %(change)s END
WHERE id IN (SELECT value FROM json_each(%(chosen)s))
RETURNING id, task_type, fence, attempt, max_attempts, input_data, checkpoint, slept,
    timeout_seconds, started_at, claimed_at, cancel_requested_at, has_files, owner_id
"""


def _claimed_row(columns: tuple[Any, ...], *, now: datetime) -> ClaimedRow:
    """Read the columns of ``CLAIM``."""
    *stored, started, began, cancel_requested_at, has_files, owner_id = columns
    task = ClaimedTask._make(
        (
            *stored,
            *(_aware(started), _aware(began), now),
            *(cancel_requested_at is not None, bool(has_files)),
        )
    )
    return ClaimedRow(task, owner_id)


# Read the tasks of the fast path that were found.
LOCK = """
SELECT id, task_type, fence + 1, attempt + CASE WHEN resumes THEN 0 ELSE 1 END, max_attempts,
    input_data, timeout_seconds, max_attempts = 1 OR resumes, owner_id
FROM taskyard_task WHERE id IN (SELECT value FROM json_each(%(chosen)s))
"""


def _locked_row(columns: tuple[Any, ...], *, now: datetime) -> LockedRow:
    """Read the columns of ``LOCK``."""
    *stored, timeout, must_be_claimed, owner_id = columns
    task = ClaimedTask._make((*stored, None, 0, timeout, now, now, now, False, False))
    return LockedRow(task, bool(must_be_claimed), owner_id)


# The owners with ready tasks in a band of a queue: the index is read once for each owner.
WAITING = """
WITH RECURSIVE waiting AS (
    SELECT (
        SELECT owner_id FROM taskyard_task
        WHERE ready AND queue = %(queue)s AND band = %(band)s AND {beyond}
        ORDER BY owner_id LIMIT 1
    ) AS owner_id
    UNION ALL
    SELECT (
        SELECT owner_id FROM taskyard_task
        WHERE ready AND queue = %(queue)s AND band = %(band)s AND owner_id > waiting.owner_id
        ORDER BY owner_id LIMIT 1
    ) FROM waiting WHERE owner_id IS NOT NULL LIMIT %(most)s
), owners AS (
    SELECT owner_id FROM waiting WHERE owner_id IS NOT NULL
    UNION ALL
    SELECT NULL WHERE EXISTS (
        SELECT 1 FROM taskyard_task
        WHERE ready AND queue = %(queue)s AND band = %(band)s AND owner_id IS NULL)
)
SELECT owners.owner_id, share.seconds, COALESCE(quota.weight, 1) FROM owners
LEFT JOIN taskyard_quota AS quota ON quota.user_id = owners.owner_id
LEFT JOIN taskyard_share AS share ON share.queue = %(queue)s AND share.owner_id IS owners.owner_id
"""

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
    queue: str,
    batch_sizes: dict[str, int],
    chosen: ChosenOwners | None,
    *,
    worker_id: int,
    process: int,
) -> Claimed:
    """Claim the next ready tasks for a process."""
    params = {**next_in(queue, batch_sizes), "worker": worker_id, "process": process}
    with transaction.atomic(), connection.cursor() as cursor:
        now = moment(datetime.now(UTC))
        picked = _pick(params | {"now": now}, chosen, leased=True)
        if not picked.fitting:
            return Claimed([], len(picked.ids), picked.undecided)
        stamp = _stamp()
        cursor.execute(CLAIM, {**params, **stamp, "chosen": str(picked.fitting)})
        rows = cursor.fetchall()
    claimed = [_claimed_row(row, now=_aware(stamp["now"])) for row in rows]
    return Claimed(owners.of_rows(picked.in_order(claimed)), len(picked.ids))


def lock(queue: str, batch_sizes: dict[str, int], chosen: ChosenOwners | None) -> Locked:
    """Find the next ready tasks; no other process writes in this transaction."""
    picked = _pick(next_in(queue, batch_sizes), chosen, leased=False)
    if picked.undecided is not None or not picked.ids:
        return Locked([], len(picked.ids), picked.undecided)
    with connection.cursor() as cursor:
        cursor.execute(LOCK, {"chosen": str(picked.ids)})
        now = datetime.now(UTC)
        rows = [_locked_row(row, now=now) for row in cursor.fetchall()]
    return Locked(owners.of_rows(picked.in_order(rows)), len(rows))


TakenRow = TypeVar("TakenRow", ClaimedRow, LockedRow)


class _Picked(NamedTuple):
    """The ids of the next tasks in their order, and of those that fit."""

    ids: list[int]
    fitting: list[int]
    undecided: int | None = None

    def in_order(self, rows: list[TakenRow]) -> list[TakenRow]:
        place = {task_id: number for number, task_id in enumerate(self.ids)}
        return sorted(rows, key=lambda row: place[row.task.id])


def _pick(params: dict[str, Any], chosen: ChosenOwners | None, *, leased: bool) -> _Picked:
    and_leased = AND_LEASED if leased else ""
    with connection.cursor() as cursor:
        if chosen is None:
            cursor.execute(PICK_ANY.format(and_leased=and_leased), params)
            rows = cursor.fetchall()
            ids = [row[0] for row in rows]
            is_all = len(rows) < params["limit"] and all(row[1] for row in rows)
            if not (is_all or rows[0][3]):
                return _Picked(ids, [], undecided=rows[0][2])
            return _Picked(ids, [row[0] for row in rows if row[1]])
        found: list[tuple[int, int]] = []
        for owner in chosen.owners:
            left = params["limit"] - len(found)
            of = {"of": owner and owners.to_column(owner), "band": chosen.band}
            each = {"each": min(chosen.each, left)}
            cursor.execute(PICK.format(and_leased=and_leased), {**params, **of, **each})
            found += cursor.fetchall()
            if len(found) == params["limit"]:
                break
    fits = list(accumulate((cap for _, cap in found), min))
    fitting = [task_id for n, (task_id, _) in enumerate(found, 1) if n <= fits[n - 1]]
    return _Picked([task_id for task_id, _ in found], fitting)


def waiting(queue: str, band: int, most: int, *, after: UserId | None = None) -> list[Waiter]:
    """The owners with ready tasks in a band of a queue."""
    params: dict[str, Any] = {"queue": queue, "band": band, "most": most}
    beyond = "owner_id IS NOT NULL"
    if after is not None:
        params["after"], beyond = owners.to_column(after), "owner_id > %(after)s"
    with connection.cursor() as cursor:
        cursor.execute(WAITING.format(beyond=beyond), params)
        return owners.of_rows([Waiter(*row) for row in cursor.fetchall()])


ADD_USED = """
UPDATE taskyard_share SET seconds = seconds + %s, served_at = %s WHERE queue = %s AND owner_id IS %s
"""


def add_used(queue: str, seconds: Mapping[UserId | None, float]) -> None:
    """Add to what owners have used of a queue."""
    now = moment(datetime.now(UTC))
    rows = [
        (more, now, queue, owner and owners.to_column(owner)) for owner, more in seconds.items()
    ]
    # No savepoint in the transaction of a lock.
    alone = nullcontext() if connection.in_atomic_block else transaction.atomic()
    with alone, connection.cursor() as cursor:
        cursor.executemany(ADD_USED, rows)


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
