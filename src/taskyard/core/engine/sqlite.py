"""SQLite: the same changes inside one IMMEDIATE transaction, which is one writer at a time.

The database's clock is this machine's.
"""

import json
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import BooleanField, Q
from django.db.models.expressions import RawSQL

from taskyard.core.models import Clock
from taskyard.core.types import DEFAULTS

Row = tuple[Any, ...]

TAKE_PLACES = """
UPDATE taskyard_account SET active = active + %(count)s, bytes = bytes + %(count)s * %(size)s,
    rate_at = max(rate_at, %(clock)s) + %(count)s * %(interval)s
WHERE user_id = %(owner)s
  AND active + %(count)s <= COALESCE(active_limit, %(limit)s)
  AND bytes + %(count)s * %(size)s <= %(budget)s
  AND max(rate_at, %(clock)s) + %(count)s * %(interval)s <= %(clock)s + %(burst)s
  AND (%(credential)s IS NULL OR EXISTS (
      SELECT 1 FROM {users} WHERE id = %(owner)s AND is_active
        AND %(credential)s = substr(sha256(password), 1, 32)))
"""

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

TICK = """
INSERT INTO taskyard_clock (id, ticks) VALUES (1, 1)
ON CONFLICT (id) DO UPDATE SET ticks = ticks + 1 RETURNING ticks
"""

PICK = """
WITH picked AS (
    SELECT id, task_type, priority FROM taskyard_task
    WHERE ready AND queue = %(queue)s AND %(caps)s ->> task_type IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM taskyard_pausedqueue WHERE name = %(queue)s)
      AND EXISTS (SELECT 1 FROM taskyard_worker WHERE id = %(worker)s AND lease_until > %(now)s)
    ORDER BY priority DESC, id LIMIT %(limit)s
), numbered AS (
    SELECT id, row_number() OVER (ORDER BY priority DESC, id) AS n, %(caps)s ->> task_type AS cap
    FROM picked
)
SELECT id, n <= min(cap) OVER (ORDER BY n) FROM numbered
"""

CLAIM = """
UPDATE taskyard_task SET
    status = 'in_progress', ready = 0, worker_id = %(worker)s, process = %(process)s,
    fence = fence + 1, attempt = attempt + CASE WHEN resumes THEN 0 ELSE 1 END, resumes = 0,
    claimed_at = CASE WHEN resumes AND status = 'in_progress' THEN claimed_at ELSE %(now)s END,
    started_at = COALESCE(started_at, %(now)s),
    changed = CASE WHEN resumes AND status = 'in_progress' THEN changed ELSE %(change)s END
WHERE id IN (SELECT value FROM json_each(%(chosen)s))
RETURNING id, task_type, fence, attempt, max_attempts, input_data, checkpoint, slept,
    timeout_seconds, started_at, claimed_at, %(now)s, priority, cancel_requested_at, owner_id
"""

LOCK = """
SELECT id, task_type, fence + 1, attempt + CASE WHEN resumes THEN 0 ELSE 1 END, max_attempts,
    input_data, NULL, 0, timeout_seconds, max_attempts = 1 OR resumes
FROM taskyard_task
WHERE ready AND queue = %(queue)s AND %(caps)s ->> task_type IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM taskyard_pausedqueue WHERE name = %(queue)s)
ORDER BY priority DESC, id LIMIT %(limit)s
"""

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

# The end of an attempt that was claimed.
FINISH = _WRITE.format(
    also="",
    current="fence = r.value ->> 'fence' AND status = 'in_progress' AND worker_id IS NOT NULL",
)

# Claim and end in one; nobody else writes in between.
FINISH_UNCLAIMED = _WRITE.format(
    also="""
    fence = r.value ->> 'fence', attempt = r.value ->> 'attempt', claimed_at = %(now)s,
    started_at = COALESCE(started_at, %(now)s),""",
    current="fence = r.value ->> 'fence' - 1 AND ready",
)

RELEASE = """
UPDATE taskyard_account SET
    active = active - owed.places,
    completed = taskyard_account.completed + owed.completed,
    error = taskyard_account.error + owed.error,
    cancelled = taskyard_account.cancelled + owed.cancelled,
    bytes = taskyard_account.bytes + owed.bytes
FROM (
    SELECT value ->> 0 AS owner, count(*) AS places, sum(value ->> 2) AS bytes,
        count(*) FILTER (WHERE value ->> 1 = 'completed') AS completed,
        count(*) FILTER (WHERE value ->> 1 = 'error') AS error,
        count(*) FILTER (WHERE value ->> 1 = 'cancelled') AS cancelled
    FROM json_each(%(ended)s) GROUP BY 1
) AS owed
WHERE user_id = owed.owner
"""


def submit(params: dict[str, Any]) -> list[Row]:
    """Take the places and insert the rows; no row where the quota does not allow them all."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_take_places(), {**params, "clock": time.time()})
        if not cursor.rowcount:
            return []
        stamp = _stamp()
        cursor.execute(INSERT, {**params, **stamp})
        now = _aware(stamp["now"]) - datetime(1970, 1, 1, tzinfo=UTC)
        return [
            (task_id, now // timedelta(microseconds=1), ready)
            for task_id, ready in cursor.fetchall()
        ]


def claim(params: dict[str, Any]) -> list[Row]:
    """Give the next ready tasks to a process."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(PICK, {**params, "now": moment(datetime.now(UTC))})
        picked = cursor.fetchall()
        if not picked:
            return []
        chosen = str([task_id for task_id, fits in picked if fits])
        cursor.execute(CLAIM, {**params, **_stamp(), "chosen": chosen})
        rows = cursor.fetchall()
    return [(*row[:9], *map(_aware, row[9:12]), *row[12:], len(picked)) for row in rows]


def lock(params: dict[str, Any]) -> list[Row]:
    """The next ready tasks; nobody else writes in this transaction."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK, params)
        now = time.time_ns() // 1000
        return [(*row, now) for row in cursor.fetchall()]


def finish_unclaimed(params: dict[str, Any]) -> list[Row]:
    """Write how tasks ended that were not claimed before; their ids and owners."""
    return _write(FINISH_UNCLAIMED, params)


def finish(params: dict[str, Any]) -> list[Row]:
    """Write how attempts ended, where they are still current; the ids that were, and owners."""
    return _write(FINISH, params)


@cache
def _take_places() -> str:
    return TAKE_PLACES.format(users=get_user_model()._meta.db_table)


def _write(statement: str, params: dict[str, Any]) -> list[Row]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, {**params, **_stamp()})
        rows = cursor.fetchall()
        sizes = _result_sizes(params["rows"])
        ended = [
            (owner, status, sizes.get(task_id, 0))
            for task_id, owner, finished_at, status in rows
            if finished_at
        ]
        if ended:
            cursor.execute(RELEASE, {"ended": json.dumps(ended)})
        return [row[:2] for row in rows]


def wait_for_locks(seconds: float) -> None:
    """Nothing: whoever writes has the whole file, and no row is locked."""


AMONG = "IN (SELECT value FROM json_each(%s))"


def ids(task_ids: list[int]) -> str:
    """The parameter of ``AMONG``."""
    return json.dumps(task_ids)


def _result_sizes(rows: str) -> dict[int, int]:
    """By task; RETURNING knows nothing of the rows that were given."""
    if '"bytes"' not in rows:
        return {}
    return {row["id"]: row["bytes"] for row in json.loads(rows) if "bytes" in row}


def among(task_ids: list[int]) -> RawSQL:
    """Rows of these ids, however many: one parameter, and each is looked up by itself."""
    return RawSQL(
        "taskyard_task.id IN (SELECT value FROM json_each(%s))",
        [ids(task_ids)],
        output_field=BooleanField(),
    )


def moment(when: datetime) -> str:
    """A time as Django keeps it on SQLite, where times are compared as text."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def change() -> int:
    """What ``changed`` is set to by the current transaction, which is the only writer."""
    with connection.cursor() as cursor:
        cursor.execute(TICK)
        return int(cursor.fetchone()[0])


def cursor() -> str:
    """What is visible now, for ``between``."""
    ticks = Clock.objects.values_list("ticks", flat=True).first()
    return str(ticks or 0)


def between(since: str, until: str) -> Q:
    """Rows that changed after ``since`` and not after ``until``; writers come one by one."""
    changed = Q(changed__gt=int(since.split(":")[0]), changed__lte=int(until))
    # Two arms, because each has its index: of the few that are active, of the many that ended.
    return (Q(finished_at=None) & changed) | (Q(finished_at__isnull=False) & changed)


def ended_between(since: str, until: str) -> Q:
    """The same of tasks that have ended: one range of each owner in the index ``task_ended``."""
    return Q(finished_at__isnull=False, changed__gt=int(since), changed__lte=int(until))


def step(since: str, until: str, most: int) -> str:
    """A cursor between the two, at most ``most`` ticks after ``since``."""
    return str(min(int(until), int(since) + most))


def _stamp() -> dict[str, Any]:
    return {"now": moment(datetime.now(UTC)), "change": change()}


def _aware(value: str | datetime) -> datetime:
    naive = datetime.fromisoformat(value) if isinstance(value, str) else value
    return naive.replace(tzinfo=UTC)
