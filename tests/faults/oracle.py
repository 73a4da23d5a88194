"""The oracle checks whether a run with faults kept every promise; an empty list means yes."""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from taskyard.core.states import TERMINAL, TRANSITIONS, Status
from tests.faults.ledger import Answer, Entry, Ledger
from tests.faults.transition_log import Move, Sampler, Truth, said_wrongly, wait_for

TASKS = """
SELECT t.id, u.username, t.status, t.result, t.error_code, t.attempt
FROM taskyard_task t JOIN taskyard_accounts_user u ON u.id = t.owner_id
"""
KEYS = """
SELECT u.username, k.key, k.task_ids FROM taskyard_idempotencykey k
JOIN taskyard_accounts_user u ON u.id = k.owner_id
"""
Row = tuple[str, str, Any, str, int]


def settle(truth: Truth, *, seconds: float) -> float:
    """Wait until no task is active; return the seconds."""
    return wait_for("every task has ended", lambda: truth.active() == 0, seconds=seconds, pause=0.2)


def judge(ledger: Ledger, truth: Truth, sampler: Sampler | None, *, limit: int) -> list[str]:
    """Every violation of a promise."""
    tasks: dict[int, Row] = {
        row[0]: (row[1], row[2], _value(row[3]), row[4], row[5]) for row in truth.rows(TASKS)
    }
    keys = {(row[0], row[1]): _value(row[2]) for row in truth.rows(KEYS)}
    names = {owner.name for owner in ledger.owners}
    return [
        *ledger.unexpected,
        *ends(ledger.entries, tasks),
        *strangers(ledger.entries, {i: row[0] for i, row in tasks.items() if row[0] in names}),
        *keyed(ledger.entries, keys),
        *histories(truth.moves(), [entry.id for entry in ledger.entries]),
        *outages(ledger.answers, ledger.outages),
        *sorted(said_wrongly(truth.quotas(), limit)),
        *(sorted(sampler.wrong) if sampler else []),
    ]


def ends(entries: Iterable[Entry], tasks: dict[int, Row]) -> list[str]:
    """Every accepted task is there, has ended, as expected, by the attempt that the row names."""
    found = []
    for entry in entries:
        if entry.id not in tasks:
            found.append(f"task {entry.id} is lost")
            continue
        owner, status, result, error_code, attempt = tasks[entry.id]
        job = entry.job
        if owner != entry.owner:
            found.append(f"task {entry.id} belongs to another")
        if status not in TERMINAL:
            found.append(f"task {entry.id} has not ended: {status}")
        elif status != job.status or (job.error_codes and error_code not in job.error_codes):
            found.append(f"task {entry.id} ended in {status} {error_code}")
        elif job.result is not None:
            wanted = {**job.result, "attempt": attempt} if job.signed else job.result
            if result != wanted:
                found.append(f"task {entry.id} (attempt {attempt}) has the result {result}")
    return found


def strangers(entries: Iterable[Entry], owners: dict[int, str]) -> list[str]:
    """There is no task without a 201: a repeated request created exactly one."""
    known = Counter(entry.id for entry in entries)
    twice = [f"task {task_id} answers two keys" for task_id, times in known.items() if times > 1]
    return twice + [f"task {task_id} is nobody's" for task_id in owners if task_id not in known]


def keyed(entries: Iterable[Entry], keys: dict[tuple[str, str], Any]) -> list[str]:
    """Every key belongs to the one task that its response named."""
    return [
        f"the key of task {entry.id} names {keys.get((entry.owner, entry.key))}"
        for entry in entries
        if keys.get((entry.owner, entry.key)) != [entry.id]
    ]


def histories(moves: Iterable[Move], task_ids: Iterable[int]) -> list[str]:
    """One terminal transition each; transitions legal; attempts and fences only grow."""
    found = []
    ended: Counter[int] = Counter()
    for move in moves:
        old, new = Status(move.old_status), Status(move.status)
        if old in TERMINAL:
            found.append(f"task {move.task_id} was changed after its end: {old} to {new}")
        elif old != new and (new not in TRANSITIONS[old] or _skips_its_attempt(old, move)):
            found.append(f"task {move.task_id} went from {old} to {new}")
        ended[move.task_id] += new in TERMINAL
        if move.fence != move.old_fence and not move.begins:
            found.append(f"task {move.task_id}: fence {move.old_fence} to {move.fence}")
        # One more when it begins, or later if a death was noticed after that.
        charged = move.begins or (move.worker is not None and move.fence == move.old_fence)
        if move.attempt != move.old_attempt and not (
            charged and move.attempt == move.old_attempt + 1
        ):
            found.append(f"task {move.task_id}: attempt {move.old_attempt} to {move.attempt}")
    for task_id in task_ids:
        if ended[task_id] != 1:
            found.append(f"task {task_id} had {ended[task_id]} terminal transitions")
    return found


def executions(marks: Counter[int], moves: Iterable[Move], lost: Collection[int]) -> list[str]:
    """No task began more often than once plus once for each lost process that held it.

    ``marks`` are the begins that the handlers recorded outside of the database.
    """
    taken = [m for m in moves if m.is_rescue and m.status == "pending"]
    excused = Counter(m.task_id for m in taken if m.old_process in lost)
    return [
        f"task {task_id} was begun {times} times; {excused[task_id]} times its process was lost"
        for task_id, times in marks.items()
        if times > 1 + excused[task_id]
    ]


def _skips_its_attempt(old: Status, move: Move) -> bool:
    """Whether a waiting task ended in one write without an attempt."""
    return old == Status.PENDING and move.status in ("completed", "error") and not move.begins


def outages(answers: Iterable[Answer], declared: list[tuple[float, float]]) -> list[str]:
    """A 5xx comes only in a declared outage, and is a 503 (or 507) with Retry-After."""
    found = []
    for answer in answers:
        if answer.status is None or answer.status < 500:
            continue
        if answer.status not in (503, 507) or not (answer.retry_after or "").isdecimal():
            found.append(f"answered {answer.status}, Retry-After: {answer.retry_after}")
        until = answer.at + answer.seconds
        if not any(start <= until and answer.at <= end for start, end in declared):
            found.append(f"answered {answer.status} without an outage")
    return found


def _value(stored: Any) -> Any:
    return json.loads(stored) if isinstance(stored, str) else stored
