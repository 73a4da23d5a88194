"""PostgreSQL: each change is one statement, so one round trip and no transaction block.

``changed`` stays as it is if the owner sees no difference: a suspended task goes on, or an attempt
suspends its task again. Times are read as numbers: psycopg reads a time slower than all the rest of
its row.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

from django.db import connection, transaction
from django.db.models import BigIntegerField, BooleanField, Func, Q
from django.db.models.expressions import RawSQL
from psycopg.types.numeric import Int8

from taskyard.core.engine import owners
from taskyard.core.engine.rows import (
    ChosenOwners,
    Claimed,
    ClaimedRow,
    Locked,
    LockedRow,
    SubmittedRow,
    Waiter,
    next_in,
    rows_of,
    text_of,
    time_of,
)
from taskyard.core.proofs import Proof
from taskyard.core.states import Status
from taskyard.core.types import DEFAULTS, AttemptResult, ClaimedTask, NewTask, UserId

# Up to this many bytes a statement has the ordinary time; a larger one has more.
ORDINARY_BYTES = 256 * 1024
LEAST_SECONDS, SECONDS_A_MEGABYTE = 8.0, 4.0
ORDINARY_TIME = nullcontext()

# When a new task is due; NULL if at once. Repeated four times, because a join costs more.
DUE = "COALESCE(r.run_at, now() + r.delay_microseconds * interval '1 microsecond')"

# Insert new tasks, in their order.
_INSERT = """
INSERT INTO taskyard_task (
    owner_id, task_type, queue, input_data, status, error_code, error_message, tags, priority,
    timeout_seconds, retry_of_id, run_at, wake_at, ready, attempt, max_attempts, fence, resumes,
    slept, created_at, changed, size, band)
SELECT {owner}, r.task_type, r.queue, r.input_data::text, 'pending', '', '',
    COALESCE(r.tags, '[]'), COALESCE(r.priority, {priority}),
    r.timeout_seconds, r.retry_of_id, {due},
    CASE WHEN {due} > now() THEN {due} END, COALESCE({due} <= now(), true),
    0, COALESCE(r.max_attempts, {max_attempts}), 0, false, 0, now(),
    pg_current_xact_id()::text::bigint, %(size)s, COALESCE(r.band, 0)
FROM {places}ROWS FROM (json_to_recordset(%(rows)s::json) AS (
    task_type text, queue text, input_data json, tags jsonb, priority smallint,
    timeout_seconds float8, retry_of_id bigint, run_at timestamptz, max_attempts integer,
    delay_microseconds bigint, band smallint
)) WITH ORDINALITY AS r
ORDER BY r.ordinality
RETURNING id, (date_part('epoch', created_at) * 1000000)::bigint, ready
"""

# Insert system tasks, which take no place.
INSERT = _INSERT.format(owner="NULL", places="", due=DUE, **DEFAULTS)

# Insert one system task that is due at once: half the time of ``INSERT``, which reads JSON rows.
INSERT_ONE = """
INSERT INTO taskyard_task (
    task_type, queue, input_data, status, error_code, error_message, tags, priority,
    timeout_seconds, retry_of_id, ready, attempt, max_attempts, fence, resumes, slept, created_at,
    changed, size, band)
VALUES (%(task_type)s, %(queue)s, %(input_data)s, 'pending', '', '', %(tags)s::jsonb, %(priority)s,
    %(timeout_seconds)s, %(retry_of_id)s, true, 0, %(max_attempts)s, 0, false, 0, now(),
    pg_current_xact_id()::text::bigint, %(size)s, %(band)s)
RETURNING id, (date_part('epoch', created_at) * 1000000)::bigint, ready
"""

# Take the quota places and insert the tasks, or neither.
SUBMIT = """
WITH place AS (
    UPDATE taskyard_quota SET active = active + %(count)s, bytes = bytes + %(count)s * %(size)s,
        rate_at = GREATEST(rate_at, date_part('epoch', now())) + %(count)s * {interval}::float8
    WHERE user_id = %(owner)s
      AND active + %(count)s <= COALESCE(active_limit, {limit})
      AND bytes + %(count)s * %(size)s <= {budget}
      AND GREATEST(rate_at, date_part('epoch', now())) + %(count)s * {interval}::float8
          <= date_part('epoch', now()) + {burst}::float8{proven}
    RETURNING user_id
)
{insert}"""

# Pick the next ready tasks of a queue, owner by owner. If others wait too, and not all that is
# ready can be taken, these are not ``decided``: the caller has to say whose turn it is.
_PICK_ANY = """
picked AS (
    SELECT next.*, row_number() OVER () AS n FROM (
        SELECT id, task_type, band, owner_id FROM taskyard_task
        WHERE ready AND queue = %(queue)s AND %(batch_sizes)s::jsonb ? task_type{and_leased}
          AND NOT EXISTS (SELECT FROM taskyard_pausedqueue WHERE name = %(queue)s)
        ORDER BY band DESC, owner_id, priority DESC, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ) AS next
), decided AS (
    SELECT count(*) < least(
        %(limit)s, 1 + min((%(batch_sizes)s::jsonb ->> task_type)::integer)
    ) OR (
        SELECT (first.band, first.owner_id) IS NOT DISTINCT FROM (last.band, last.owner_id)
        FROM picked AS first, (
            SELECT band, owner_id FROM taskyard_task WHERE ready AND queue = %(queue)s
            ORDER BY band, owner_id DESC LIMIT 1
        ) AS last
        WHERE first.n = 1
    ) AS decided
    FROM picked
)"""

# Pick the next ready tasks of the owners whose turn it is, in their order.
_PICK = """
picked AS (
    SELECT next.*, row_number() OVER () AS n FROM (
        SELECT next.* FROM unnest(%(owners)s::{owner_type}[]) WITH ORDINALITY AS chosen (of, place)
        CROSS JOIN LATERAL ({next}) AS next
        LIMIT %(limit)s
    ) AS next
), decided AS (SELECT true AS decided)"""
_NEXT = """
            SELECT {columns} FROM taskyard_task
            WHERE ready AND queue = %(queue)s AND band = %(band)s AND {whose}
              AND %(batch_sizes)s::jsonb ? task_type{and_leased}
              AND NOT EXISTS (SELECT FROM taskyard_pausedqueue WHERE name = %(queue)s)
            ORDER BY priority DESC, id LIMIT %(each)s FOR UPDATE SKIP LOCKED"""
_AND_LEASED = """
          AND EXISTS (SELECT FROM taskyard_worker WHERE id = %(worker)s AND lease_until > now())"""

# Claim the tasks that fit of those that were picked: those before the first task whose type's batch
# is full. There is always a row, which says what was looked at.
_CLAIM = """
WITH {picked}, numbered AS (
    SELECT id, n, (%(batch_sizes)s::jsonb ->> task_type)::integer AS cap FROM picked
), fitting AS (
    SELECT id, n <= min(cap) OVER (ORDER BY n) AS fits FROM numbered
), claimed AS (
    UPDATE taskyard_task SET
        status = 'in_progress', ready = false, worker_id = %(worker)s, process = %(process)s,
        fence = fence + 1, attempt = attempt + CASE WHEN resumes THEN 0 ELSE 1 END, resumes = false,
        claimed_at = CASE WHEN resumes AND status = 'in_progress' THEN claimed_at ELSE now() END,
        started_at = COALESCE(started_at, now()),
        changed = CASE WHEN resumes AND status = 'in_progress' THEN changed
            ELSE pg_current_xact_id()::text::bigint END
    WHERE id = ANY(ARRAY(SELECT id FROM fitting WHERE fits)) AND (SELECT decided FROM decided)
    RETURNING id, task_type, fence, attempt, max_attempts, input_data, checkpoint, slept,
        timeout_seconds, (date_part('epoch', started_at) * 1000000)::bigint AS started,
        (date_part('epoch', claimed_at) * 1000000)::bigint AS began,
        (date_part('epoch', now()) * 1000000)::bigint AS now,
        cancel_requested_at IS NOT NULL AS cancelled, has_files, owner_id
)
SELECT looked.*, claimed.* FROM (
    SELECT count(*), CASE WHEN NOT (SELECT decided FROM decided) THEN max(band) END FROM picked
) AS looked LEFT JOIN claimed ON true
LEFT JOIN picked USING (id) ORDER BY picked.n
"""


def _claimed(rows: list[tuple[Any, ...]]) -> Claimed:
    """Read the columns of ``_CLAIM``."""
    looked_at, undecided = rows[0][:2]
    claimed = [] if rows[0][2] is None else [_claimed_row(row[2:]) for row in rows]
    return Claimed(owners.of_rows(claimed), looked_at, undecided)


def _claimed_row(columns: tuple[Any, ...]) -> ClaimedRow:
    *stored, started, began, now, cancelled, has_files, owner_id = columns
    task = ClaimedTask._make(
        (*stored, time_of(started), time_of(began), time_of(now), cancelled, has_files)
    )
    return ClaimedRow(task, owner_id)


# Lock the next ready tasks of a queue for the fast path, owner by owner. The last columns are the
# band and the owner of the last entry of the index.
_LOCK_ANY = """
SELECT {columns},
    (
        SELECT band FROM taskyard_task WHERE ready AND queue = %(queue)s ORDER BY band LIMIT 1
    ) AS last_band,
    (
        SELECT owner_id FROM taskyard_task WHERE ready AND queue = %(queue)s
        ORDER BY band, owner_id DESC LIMIT 1
    ) AS last_owner_id
FROM taskyard_task
WHERE ready AND queue = %(queue)s AND %(batch_sizes)s::jsonb ? task_type
  AND NOT EXISTS (SELECT FROM taskyard_pausedqueue WHERE name = %(queue)s)
ORDER BY band DESC, owner_id, priority DESC, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""

# Lock those of the owners whose turn it is, in their order.
_LOCK = """
SELECT next.* FROM unnest(%(owners)s::{owner_type}[]) WITH ORDINALITY AS chosen (of, place)
CROSS JOIN LATERAL ({next}) AS next
LIMIT %(limit)s
"""
_LOCKED_COLUMNS = """id, task_type, fence + 1,
    attempt + CASE WHEN resumes THEN 0 ELSE 1 END, max_attempts, input_data, timeout_seconds,
    max_attempts = 1 OR resumes, (date_part('epoch', now()) * 1000000)::bigint, band, owner_id"""


def _locked_rows(rows: list[tuple[Any, ...]]) -> list[LockedRow]:
    """Read ``_LOCKED_COLUMNS``; the time is the same in each row."""
    now = time_of(rows[0][8])
    return [
        LockedRow(
            ClaimedTask(
                task_id, task_type, fence, attempt, most, data, None, 0, timeout, now, now, now
            ),
            must,
            owner_id,
        )
        for task_id, task_type, fence, attempt, most, data, timeout, must, _, _, owner_id in rows
    ]


# The owners with ready tasks in a band of a queue: the index is read once for each owner.
WAITING = """
WITH RECURSIVE waiting AS (
    (
        SELECT owner_id FROM taskyard_task
        WHERE ready AND queue = %(queue)s AND band = %(band)s AND {beyond}
        ORDER BY owner_id LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT owner_id FROM taskyard_task
        WHERE ready AND queue = %(queue)s AND band = %(band)s AND owner_id > waiting.owner_id
        ORDER BY owner_id LIMIT 1
    ) FROM waiting WHERE owner_id IS NOT NULL
)
(
    SELECT waiting.owner_id, share.seconds, COALESCE(quota.weight, 1) FROM waiting
    LEFT JOIN taskyard_quota AS quota ON quota.user_id = waiting.owner_id
    LEFT JOIN taskyard_share AS share
        ON share.queue = %(queue)s AND share.owner_id = waiting.owner_id
    WHERE waiting.owner_id IS NOT NULL LIMIT %(most)s
)
UNION ALL
(
    SELECT NULL,
        (SELECT seconds FROM taskyard_share WHERE queue = %(queue)s AND owner_id IS NULL), 1
    FROM taskyard_task
    WHERE ready AND queue = %(queue)s AND band = %(band)s AND owner_id IS NULL LIMIT 1
)
"""

# Add to what owners have used: a list of objects. The rows are locked in the order of ids.
ADD_USED = """
WITH used AS (
    SELECT share.id, used.seconds
    FROM json_to_recordset(%(used)s::json) AS used (owner {owner_type}, seconds float8)
    JOIN taskyard_share AS share
        ON share.queue = %(queue)s AND share.owner_id = used.owner
    UNION ALL
    SELECT id, %(of_system)s::float8 FROM taskyard_share
    WHERE queue = %(queue)s AND owner_id IS NULL AND %(of_system)s::float8 > 0
), locked AS (
    SELECT id FROM taskyard_share WHERE id IN (SELECT id FROM used) ORDER BY id FOR UPDATE
)
UPDATE taskyard_share AS share SET seconds = share.seconds + used.seconds, served_at = now()
FROM used JOIN locked USING (id) WHERE share.id = used.id
"""

# Release the places of the tasks in ``done`` that ended; lock the quotas in the order of ids.
_RELEASE = """
owed AS (
    SELECT owner_id, count(*) AS places, COALESCE(sum(bytes), 0) AS bytes,
        count(*) FILTER (WHERE status = 'completed') AS completed,
        count(*) FILTER (WHERE status = 'error') AS error,
        count(*) FILTER (WHERE status = 'cancelled') AS cancelled
    FROM done WHERE terminal GROUP BY owner_id
), locked AS (
    SELECT user_id FROM taskyard_quota WHERE user_id = ANY(ARRAY(SELECT owner_id FROM owed))
    ORDER BY user_id FOR UPDATE
), released AS (
    UPDATE taskyard_quota a SET
        active = a.active - owed.places, completed = a.completed + owed.completed,
        error = a.error + owed.error, cancelled = a.cancelled + owed.cancelled,
        bytes = a.bytes + owed.bytes
    FROM owed, locked WHERE a.user_id = owed.owner_id AND a.user_id = locked.user_id
)
"""

# Write how attempts ended, if they are ``current``, and release.
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
), {release}
SELECT id, owner_id FROM done
"""

# The end of attempts that were claimed.
FINISH = _WRITE.format(
    release=_RELEASE.strip(),
    also="",
    current="t.fence = r.fence AND t.status = 'in_progress' AND t.worker_id IS NOT NULL",
)

# Claim and end in one, of tasks that this transaction has locked.
FINISH_UNCLAIMED = _WRITE.format(
    release=_RELEASE.strip(),
    also="""
        fence = r.fence, attempt = r.attempt, claimed_at = now(),
        started_at = COALESCE(t.started_at, now()),""",
    current="t.fence = r.fence - 1 AND t.ready",
)


# Release the places of tasks that other statements have ended.
RELEASE = """
WITH done AS (
    SELECT owner_id, status, 0 AS bytes, true AS terminal
    FROM json_to_recordset(%(ended)s::json) AS r (owner_id {owner_type}, status text)
), {release}
SELECT 1
"""


def submit(params: dict[str, Any], proof: Proof | None = None) -> list[SubmittedRow]:
    """Take the places and insert the tasks."""
    # Always bigint: PostgreSQL keeps a plan for each combination of parameter types.
    wide = {name: Int8(params[name]) for name in ("count", "size")}
    bounds = (params[name] for name in ("limit", "budget", "interval", "burst"))
    given: dict[str, Any] = {"owner": owners.to_column(params["owner"])}
    if proof is None:
        return _fetch(_submit(*bounds), params | wide | given)
    given["proof"] = proof.value
    return _fetch(_submit(*bounds, condition=proof.condition), params | wide | given)


def insert(new: Sequence[NewTask], rows: str, size: int) -> list[SubmittedRow]:
    """Insert system tasks."""
    task = new[0]
    if len(new) > 1 or task.run_at is not None or task.delay_microseconds is not None:
        return _fetch(INSERT, {"rows": rows, "size": Int8(size)})
    texts = {"input_data": text_of(task.input_data), "tags": text_of(task.tags)}
    return _fetch(INSERT_ONE, {**task._asdict(), **texts, "size": Int8(size)})


def claim(
    queue: str,
    batch_sizes: dict[str, int],
    chosen: ChosenOwners | None,
    *,
    worker_id: int,
    process: int,
) -> Claimed:
    """Claim the next ready tasks for a process; skip those that are locked."""
    params = {**next_in(queue, batch_sizes), "worker": worker_id, "process": process}
    return _claimed(_fetch(_claim_statement(_kind(chosen)), params | _of_chosen(chosen)))


def lock(queue: str, batch_sizes: dict[str, int], chosen: ChosenOwners | None) -> Locked:
    """Lock the next ready tasks; skip those that are locked."""
    params = next_in(queue, batch_sizes)
    rows = _fetch(_lock_statement(_kind(chosen)), params | _of_chosen(chosen))
    if not rows:
        return Locked([], 0)
    if chosen is None:
        *_, band, owner_id, last_band, last_owner_id = rows[0]
        most = min(params["limit"] - 1, *(batch_sizes[row[1]] for row in rows))
        if len(rows) > most and (band, owner_id) != (last_band, last_owner_id):
            return Locked([], len(rows), band)
        rows = [row[:11] for row in rows]
    return Locked(owners.of_rows(_locked_rows(rows)), len(rows))


# Which owners a statement takes tasks of.
_ANY, _THESE, _SYSTEM = "any", "these", "system"


def _kind(chosen: ChosenOwners | None) -> str:
    if chosen is None:
        return _ANY
    return _SYSTEM if chosen.owners[0] is None else _THESE


@cache
def _claim_statement(kind: str) -> str:
    if kind == _ANY:
        return _CLAIM.format(picked=_PICK_ANY.format(and_leased=_AND_LEASED).strip())
    following = _next(kind, columns="id, task_type, band, owner_id", and_leased=_AND_LEASED)
    picked = _PICK.format(owner_type=owners.column_type(), next=following)
    return _CLAIM.format(picked=picked.strip())


@cache
def _lock_statement(kind: str) -> str:
    if kind == _ANY:
        return _LOCK_ANY.format(columns=_LOCKED_COLUMNS)
    following = _next(kind, columns=_LOCKED_COLUMNS, and_leased="")
    return _LOCK.format(owner_type=owners.column_type(), next=following)


def _next(kind: str, **parts: str) -> str:
    whose = "owner_id IS NULL" if kind == _SYSTEM else "owner_id = chosen.of"
    return _NEXT.format(whose=whose, **parts)


def _of_chosen(chosen: ChosenOwners | None) -> dict[str, Any]:
    if chosen is None:
        return {}
    of = [None if owner is None else owners.to_column(owner) for owner in chosen.owners]
    return {"owners": of, "band": chosen.band, "each": chosen.each}


def waiting(queue: str, band: int, most: int, *, after: UserId | None = None) -> list[Waiter]:
    """The owners with ready tasks in a band of a queue."""
    params: dict[str, Any] = {"queue": queue, "band": band, "most": most}
    beyond = "owner_id IS NOT NULL"
    if after is not None:
        params["after"], beyond = owners.to_column(after), "owner_id > %(after)s"
    rows = _fetch(WAITING.format(beyond=beyond), params)
    return owners.of_rows([Waiter(*row) for row in rows])


def add_used(queue: str, seconds: Mapping[UserId | None, float]) -> None:
    """Add to what owners have used of a queue."""
    used = [
        {"owner": owners.to_column(owner), "seconds": more}
        for owner, more in seconds.items()
        if owner is not None
    ]
    params: dict[str, Any] = {
        "queue": queue,
        "used": json.dumps(used, default=str),
        "of_system": seconds.get(None, 0.0),
    }
    with connection.cursor() as cursor:
        cursor.execute(ADD_USED.format(owner_type=owners.column_type()), params)


def finish(results: Sequence[AttemptResult]) -> dict[int, UserId | None]:
    """Write how claimed attempts ended."""
    return owners.by_task(_fetch(FINISH, {"rows": rows_of(results, moment)}))


def finish_unclaimed(results: Sequence[AttemptResult]) -> dict[int, UserId | None]:
    """Write claim and end of locked tasks."""
    return owners.by_task(_fetch(FINISH_UNCLAIMED, {"rows": rows_of(results, moment)}))


def release(ended: Sequence[tuple[UserId | None, Status]]) -> None:
    """Release the places of tasks that other statements have ended."""
    rows = [
        {"owner_id": owners.to_column(owner_id), "status": status}
        for owner_id, status in ended
        if owner_id is not None
    ]
    if rows:
        _fetch(_release(), {"ended": json.dumps(rows, default=str)})


@cache
def _release() -> str:
    return RELEASE.format(owner_type=owners.column_type(), release=_RELEASE.strip())


def change() -> Func:
    """The number of this transaction."""
    return Func(template="pg_current_xact_id()::text::bigint", output_field=BigIntegerField())


def snapshot() -> str:
    """What is visible now: ``xmin:xmax:xip,…``."""
    return str(_fetch("SELECT pg_current_snapshot()::text", {})[0][0])


def between(since: str, until: str) -> Q:
    """Tasks whose last change ``until`` shows and ``since`` does not show.

    A snapshot lists the transactions in progress, so a transaction that was numbered early and
    committed late is not missed (PostgreSQL manual, "Transaction ID and Snapshot Information").
    """
    oldest = int(since.split(":")[0])
    # Two conditions, because active and ended tasks have an index each.
    found = Q(finished_at=None) | Q(finished_at__isnull=False, changed__gte=oldest)
    return found & ~Q(_visible_in(since)) & Q(_visible_in(until))


def ended_between(since: str, until: str) -> Q:
    """The same for tasks that ended, by the index ``task_ended``."""
    oldest, beyond = int(since.split(":")[0]), int(until.split(":")[1])
    found = Q(finished_at__isnull=False, changed__gte=oldest, changed__lt=beyond)
    return found & ~Q(_visible_in(since)) & Q(_visible_in(until))


def step(since: str, until: str, most: int) -> str:
    """A snapshot between the two, at most ``most`` transactions after ``since``."""
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
    """Let this transaction wait no longer than this for each lock."""
    with connection.cursor() as cursor:
        limit = f"{round(seconds * 1000)}ms"
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [limit])


ID_IN = "= ANY(%s::bigint[])"


def ids(task_ids: list[int]) -> str:
    """The parameter of ``ID_IN``; as text, because psycopg adapts a list number by number."""
    return f"{{{','.join(map(str, task_ids))}}}"


def id_in(task_ids: list[int]) -> RawSQL:
    """Tasks with these ids, with one parameter for any number of them."""
    return RawSQL(
        "taskyard_task.id = ANY(%s::bigint[])", [ids(task_ids)], output_field=BooleanField()
    )


def moment(when: datetime) -> str:
    """A time as the JSON rows carry it."""
    return when.isoformat()


@lru_cache(maxsize=16)
def _submit(limit: int, budget: int, interval: float, burst: float, *, condition: str = "") -> str:
    """The statement for these settings; as parameters, they would cost time with every task."""
    bounds = {"limit": limit, "budget": budget, "interval": interval, "burst": burst}
    proven = f"\n      AND {condition}" if condition else ""
    insert = _INSERT.format(owner="place.user_id", places="place, ", due=DUE, **DEFAULTS)
    return SUBMIT.format(proven=proven, insert=insert.lstrip(), **bounds)


def _fetch(statement: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    with _time_for(params.get("rows", "")), connection.cursor() as cursor:
        cursor.execute(statement, params)
        return list(cursor.fetchall())


def _time_for(rows: str) -> AbstractContextManager[None]:
    """Give a statement with many rows more time than usual.

    Needed only if the database backend limits the time of an answer; then it costs round trips.
    """
    if len(rows) <= ORDINARY_BYTES:
        return ORDINARY_TIME
    answering_within = getattr(connection, "answering_within", None)
    if answering_within is None:
        return ORDINARY_TIME
    seconds = LEAST_SECONDS + SECONDS_A_MEGABYTE * len(rows) / 1024**2
    return _in_transaction(answering_within(seconds))


@contextmanager
def _in_transaction(time_limit: AbstractContextManager[None]) -> Iterator[None]:
    with transaction.atomic(), time_limit:
        yield
