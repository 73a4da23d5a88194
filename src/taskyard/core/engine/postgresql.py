"""PostgreSQL: each change is one statement, so one round trip and no transaction block.

``changed`` stays as it is where an owner sees no difference: a sleeper that goes on, or sleeps on.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import BigIntegerField, BooleanField, Func, Q
from django.db.models.expressions import RawSQL
from psycopg.types.numeric import Int8

from taskyard.core.types import DEFAULTS

Row = tuple[Any, ...]
# A statement of so many bytes has the ordinary time; one that is larger has more.
ORDINARY_BYTES = 256 * 1024
LEAST_SECONDS, SECONDS_A_MEGABYTE = 8.0, 4.0
ORDINARY_TIME = nullcontext()

SUBMIT = """
WITH place AS (
    UPDATE taskyard_account SET active = active + %(count)s, bytes = bytes + %(count)s * %(size)s,
        rate_at = GREATEST(rate_at, date_part('epoch', now())) + %(count)s * {interval}::float8
    WHERE user_id = %(owner)s
      AND active + %(count)s <= COALESCE(active_limit, {limit})
      AND bytes + %(count)s * %(size)s <= {budget}
      AND GREATEST(rate_at, date_part('epoch', now())) + %(count)s * {interval}::float8
          <= date_part('epoch', now()) + {burst}::float8
      AND (%(credential)s::text IS NULL OR EXISTS (
          SELECT FROM {users} WHERE id = %(owner)s AND is_active AND %(credential)s::text
              = left(encode(sha256(convert_to(password, 'UTF8')), 'hex'), 32)))
    RETURNING user_id
)
INSERT INTO taskyard_task (
    owner_id, task_type, queue, input_data, status, error_code, error_message, tags, priority,
    timeout_seconds, retry_of_id, run_at, wake_at, ready, attempt, max_attempts, fence, resumes,
    slept, created_at, changed, size)
SELECT place.user_id, r.task_type, r.queue, r.input_data::text, 'pending', '', '',
    COALESCE(r.tags, '[]'), COALESCE(r.priority, {priority}),
    r.timeout_seconds, r.retry_of_id, {due},
    CASE WHEN {due} > now() THEN {due} END, COALESCE({due} <= now(), true),
    0, COALESCE(r.max_attempts, {max_attempts}), 0, false, 0, now(),
    pg_current_xact_id()::text::bigint, %(size)s
FROM place, ROWS FROM (json_to_recordset(%(rows)s::json) AS (
    task_type text, queue text, input_data json, tags jsonb, priority smallint,
    timeout_seconds float8, retry_of_id bigint, run_at timestamptz, max_attempts integer,
    delay_microseconds bigint
)) WITH ORDINALITY AS r
ORDER BY r.ordinality
RETURNING id, (date_part('epoch', created_at) * 1000000)::bigint, ready
"""

# When a new task is due, NULL for at once. Said four times, for a join costs more.
DUE = "COALESCE(r.run_at, now() + r.delay_microseconds * interval '1 microsecond')"

CLAIM = """
WITH picked AS (
    SELECT id, task_type, priority FROM taskyard_task
    WHERE ready AND queue = %(queue)s AND %(caps)s::jsonb ? task_type
      AND NOT EXISTS (SELECT FROM taskyard_pausedqueue WHERE name = %(queue)s)
      AND EXISTS (SELECT FROM taskyard_worker WHERE id = %(worker)s AND lease_until > now())
    ORDER BY priority DESC, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), numbered AS (
    SELECT id, row_number() OVER w AS n, (%(caps)s::jsonb ->> task_type)::integer AS cap
    FROM picked WINDOW w AS (ORDER BY priority DESC, id)
), fitting AS (
    SELECT id, n <= min(cap) OVER (ORDER BY n) AS fits FROM numbered
)
UPDATE taskyard_task SET
    status = 'in_progress', ready = false, worker_id = %(worker)s, process = %(process)s,
    fence = fence + 1, attempt = attempt + CASE WHEN resumes THEN 0 ELSE 1 END, resumes = false,
    claimed_at = CASE WHEN resumes AND status = 'in_progress' THEN claimed_at ELSE now() END,
    started_at = COALESCE(started_at, now()),
    changed = CASE WHEN resumes AND status = 'in_progress' THEN changed
        ELSE pg_current_xact_id()::text::bigint END
WHERE id = ANY(ARRAY(SELECT id FROM fitting WHERE fits))
RETURNING id, task_type, fence, attempt, max_attempts, input_data, checkpoint, slept,
    timeout_seconds, started_at, claimed_at, now(), priority, cancel_requested_at, owner_id,
    (SELECT count(*) FROM picked)
"""

LOCK = """
SELECT id, task_type, fence + 1, attempt + CASE WHEN resumes THEN 0 ELSE 1 END, max_attempts,
    input_data, NULL, 0, timeout_seconds, max_attempts = 1 OR resumes,
    (date_part('epoch', now()) * 1000000)::bigint
FROM taskyard_task
WHERE ready AND queue = %(queue)s AND %(caps)s::jsonb ? task_type
  AND NOT EXISTS (SELECT FROM taskyard_pausedqueue WHERE name = %(queue)s)
ORDER BY priority DESC, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""

_WRITE = """
WITH done AS (
    UPDATE taskyard_task t SET
        status = r.status, ready = COALESCE(r.ready, false), wake_at = r.wake_at,
        resumes = COALESCE(r.resumes, false), worker_id = NULL, process = NULL,
        result = r.result::text, error_code = COALESCE(r.error_code, ''),
        error_message = COALESCE(r.error_message, ''),
        progress = COALESCE(r.progress::text, t.progress), checkpoint = r.checkpoint::text,
        slept = COALESCE(r.slept, 0), size = t.size + COALESCE(r.bytes, 0),{also}
        finished_at = CASE WHEN r.terminal THEN now() END,
        changed = CASE WHEN r.status = 'in_progress' AND r.progress IS NULL THEN t.changed
            ELSE pg_current_xact_id()::text::bigint END
    FROM json_to_recordset(%(rows)s::json) AS r (
        id bigint, fence integer, attempt integer, status text, ready boolean,
        wake_at timestamptz, resumes boolean, result json, error_code text, error_message text,
        progress json, checkpoint json, slept integer, terminal boolean,
        bytes integer)
    WHERE t.id = r.id AND {current}
    RETURNING t.id, t.owner_id, r.terminal, r.status, r.bytes
), owed AS (
    SELECT owner_id, count(*) AS places, COALESCE(sum(bytes), 0) AS bytes,
        count(*) FILTER (WHERE status = 'completed') AS completed,
        count(*) FILTER (WHERE status = 'error') AS error,
        count(*) FILTER (WHERE status = 'cancelled') AS cancelled
    FROM done WHERE terminal GROUP BY owner_id
), locked AS (
    SELECT user_id FROM taskyard_account WHERE user_id = ANY(ARRAY(SELECT owner_id FROM owed))
    ORDER BY user_id FOR UPDATE
), released AS (
    UPDATE taskyard_account a SET
        active = a.active - owed.places, completed = a.completed + owed.completed,
        error = a.error + owed.error, cancelled = a.cancelled + owed.cancelled,
        bytes = a.bytes + owed.bytes
    FROM owed, locked WHERE a.user_id = owed.owner_id AND a.user_id = locked.user_id
)
SELECT id, owner_id FROM done
"""

# The end of an attempt that was claimed.
FINISH = _WRITE.format(
    also="",
    current="t.fence = r.fence AND t.status = 'in_progress' AND t.worker_id IS NOT NULL",
)

# Claim and end in one, of a task that this transaction has locked.
FINISH_UNCLAIMED = _WRITE.format(
    also="""
        fence = r.fence, attempt = r.attempt, claimed_at = now(),
        started_at = COALESCE(t.started_at, now()),""",
    current="t.fence = r.fence - 1 AND t.ready",
)


def submit(params: dict[str, Any]) -> list[Row]:
    """Take the places and insert the rows; no row where the quota does not allow them all.

    A time goes out as a number: to read it as a time costs more than the rest of its row.
    """
    # As one type, whatever their size: a kept statement is kept for the types of its parameters.
    wide = {name: Int8(params[name]) for name in ("count", "size")}
    statement = _submit(*(params[name] for name in ("limit", "budget", "interval", "burst")))
    return _fetch(statement, params | wide)


def claim(params: dict[str, Any]) -> list[Row]:
    """Give the next ready tasks to a process."""
    return _fetch(CLAIM, params)


def lock(params: dict[str, Any]) -> list[Row]:
    """The next ready tasks, locked."""
    return _fetch(LOCK, params)


def finish_unclaimed(params: dict[str, Any]) -> list[Row]:
    """Write how locked tasks ended; their ids and owners."""
    return _fetch(FINISH_UNCLAIMED, params)


def finish(params: dict[str, Any]) -> list[Row]:
    """Write how attempts ended, where they are still current; the ids that were, and owners."""
    return _fetch(FINISH, params)


def change() -> Func:
    """What ``changed`` is set to by the current transaction."""
    return Func(template="pg_current_xact_id()::text::bigint", output_field=BigIntegerField())


def cursor() -> str:
    """What is visible now, for ``between``."""
    return str(_fetch("SELECT pg_current_snapshot()::text", {})[0][0])


def between(since: str, until: str) -> Q:
    """Rows whose last change ``until`` shows and ``since`` did not, whatever order they had.

    A snapshot names the transactions that were under way, so one that was numbered early and
    committed late is not missed (PostgreSQL manual, "Transaction ID and Snapshot Information").
    """
    oldest = int(since.split(":")[0])
    # Two arms, because each has its index: of the few that are active, of the many that ended.
    found = Q(finished_at=None) | Q(finished_at__isnull=False, changed__gte=oldest)
    return found & ~Q(_visible_in(since)) & Q(_visible_in(until))


def ended_between(since: str, until: str) -> Q:
    """The same of tasks that have ended: one range of each owner in the index ``task_ended``."""
    oldest, beyond = int(since.split(":")[0]), int(until.split(":")[1])
    found = Q(finished_at__isnull=False, changed__gte=oldest, changed__lt=beyond)
    return found & ~Q(_visible_in(since)) & Q(_visible_in(until))


def step(since: str, until: str, most: int) -> str:
    """A cursor between the two, at most ``most`` transactions after ``since``.

    It shows all that ``since`` shows, and nothing that ``until`` does not show.
    """
    end = int(since.split(":")[1]) + most
    oldest, beyond, running = until.split(":")
    if int(beyond) <= end:
        return until
    before = [number for number in running.split(",") if number and int(number) < end]
    return f"{min(int(oldest), end)}:{end}:{','.join(before)}"


def _visible_in(snapshot: str) -> RawSQL:
    return RawSQL(
        "pg_visible_in_snapshot(changed::text::xid8, %s::pg_snapshot)",
        [snapshot],
        output_field=BooleanField(),
    )


def wait_for_locks(seconds: float) -> None:
    """From now on this transaction waits no longer for any lock."""
    with connection.cursor() as cursor:
        limit = f"{round(seconds * 1000)}ms"
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [limit])


AMONG = "= ANY(%s::bigint[])"


def ids(task_ids: list[int]) -> str:
    """The parameter of ``AMONG``; as text, for a list is looked through number by number."""
    return f"{{{','.join(map(str, task_ids))}}}"


def among(task_ids: list[int]) -> RawSQL:
    """Rows of these ids, however many: one parameter, and each is looked up by itself."""
    return RawSQL(
        "taskyard_task.id = ANY(%s::bigint[])", [ids(task_ids)], output_field=BooleanField()
    )


def moment(when: datetime) -> str:
    """A time as the JSON rows carry it."""
    return when.isoformat()


@lru_cache(maxsize=8)
def _submit(limit: int, budget: int, interval: float, burst: float) -> str:
    """The statement for these settings: each parameter costs some time with every task."""
    bounds = {"limit": limit, "budget": budget, "interval": interval, "burst": burst}
    return SUBMIT.format(users=get_user_model()._meta.db_table, due=DUE, **bounds, **DEFAULTS)


def _fetch(statement: str, params: dict[str, Any]) -> list[Row]:
    with _time_for(params.get("rows", "")), connection.cursor() as cursor:
        cursor.execute(statement, params)
        return list(cursor.fetchall())


def _time_for(rows: str) -> AbstractContextManager[None]:
    """Around a statement with these rows: more time than usual, if they are many.

    Only an engine that bounds its answers has to give more, and only then it costs round trips.
    """
    if len(rows) <= ORDINARY_BYTES:
        return ORDINARY_TIME
    give = getattr(connection, "answering_within", None)
    if give is None:
        return ORDINARY_TIME
    return _more_time(give(LEAST_SECONDS + SECONDS_A_MEGABYTE * len(rows) / 1024**2))


@contextmanager
def _more_time(given: AbstractContextManager[None]) -> Iterator[None]:
    with transaction.atomic(), given:
        yield
