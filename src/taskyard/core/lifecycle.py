"""Submit, claim, cancel, retry and rescue tasks. Each change is guarded and happens once.

Only this module, ``transitions`` (the ends) and ``engine`` (their statements) change the state of a
task. The fence guards claims and ends of attempts: a late attempt changes nothing, and the caller
sees that. Locks are always taken in the same order: tasks, then accounts.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any

from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import Case, F, When
from django.db.models.functions import Coalesce, Least, Now

from taskyard.core import allowance, busy, fair_queue, followers, notifications, transitions
from taskyard.core.conf import conf
from taskyard.core.engine import SubmittedRow, engine
from taskyard.core.engine.rows import LockedRow, rows_of_new, time_of
from taskyard.core.errors import (
    InputNotKept,
    NotCancellable,
    NotRetryable,
    Unproven,
)
from taskyard.core.fair_order import band_of
from taskyard.core.intake import band_for, files_of
from taskyard.core.models import Quota, Task
from taskyard.core.proofs import Proof
from taskyard.core.querysets import TaskQuerySet
from taskyard.core.states import TERMINAL, Priority, Status
from taskyard.core.types import (
    AttemptResult,
    AttemptState,
    ClaimedTask,
    LossReason,
    NewTask,
    RescueDecision,
    UserId,
)

BATCH_SIZE = 1000
logger = logging.getLogger(__name__)


def assume_lost(task: Task) -> LossReason:
    """The reason if nothing else is known: the attempt may have run, so it counts."""
    return LossReason.LOST


def open_quota(owner_id: UserId) -> None:
    """Give a user a quota counter, unless there is one."""
    Quota.objects.bulk_create([Quota(user_id=owner_id)], ignore_conflicts=True)


def submit(owner_id: UserId | None, new: NewTask, *, proof: Proof | None = None) -> Task:
    """Accept one task; raises QuotaExceeded, with a proof Unproven.

    Without an owner it is a system task: no quota counts it, so no submit waits for another.

    ``proof`` is for a caller that has not asked the database whether the credential is good: the
    statement that takes the place then also checks that.
    """
    task_id, created_at, ready = submit_row(owner_id, new, proof=proof)
    fields = {**_fields_of_new(), **new._asdict(), "tags": list(new.tags)}
    if delay := fields.pop("delay_microseconds"):
        fields["run_at"] = created_at + timedelta(microseconds=delay)
    fields |= {
        "has_files": bool(fields.pop("files")),
        "id": task_id,
        "owner_id": owner_id,
        "created_at": created_at,
        "ready": ready,
    }
    return Task.from_db(DEFAULT_DB_ALIAS, fields.keys(), fields.values())


def submit_row(
    owner_id: UserId | None, new: NewTask, *, proof: Proof | None = None
) -> tuple[int, datetime, bool]:
    """Like ``submit``, but make no model: the id, when it was created, and whether it is ready."""
    ((task_id, created_us, ready),) = _accept(owner_id, [new], proof)
    return task_id, time_of(created_us), bool(ready)


@cache
def _fields_of_new() -> dict[str, Any]:
    """The fields of a new task; to let Django find them takes three times as long."""
    return {field.attname: field.get_default() for field in Task._meta.concrete_fields}


def submit_all(owner_id: UserId | None, new: Sequence[NewTask]) -> list[int]:
    """Accept all of these tasks, in this order, or none; their ids. Raises QuotaExceeded."""
    return [task_id for task_id, _, _ in _accept(owner_id, new)]


def _accept(
    owner_id: UserId | None, new: Sequence[NewTask], proof: Proof | None = None
) -> list[SubmittedRow]:
    """Insert the rows, for an owner within the quota, in one change; in the order of ids."""
    if not any(task.files for task in new):
        return _insert(owner_id, new, proof)
    with transaction.atomic():
        accepted = _insert(owner_id, new, proof)
        ids = [task_id for task_id, _, _ in accepted]
        followers.files().submitted(owner_id, list(zip(ids, new, strict=True)))
    return accepted


def _insert(
    owner_id: UserId | None, new: Sequence[NewTask], proof: Proof | None
) -> list[SubmittedRow]:
    if owner_id is None and any(task.priority != Priority.NORMAL for task in new):
        # System tasks are the project's own: their priority counts between all owners.
        new = [task._replace(band=band_of(task.priority)) for task in new]
    rows = rows_of_new(new, engine().moment)
    size = allowance.size_of_each(rows, len(new))
    if owner_id is None:
        accepted = engine().insert(new, rows, size)
    else:
        accepted = _accept_within_quota(owner_id, rows, len(new), size, proof)
    accepted.sort()
    notifications.on_commit(
        queues={task.queue for (_, _, ready), task in zip(accepted, new, strict=True) if ready},
        changes=[(owner_id, task_id, Status.PENDING) for task_id, _, _ in accepted],
    )
    return accepted


def _accept_within_quota(
    owner_id: UserId, rows: str, count: int, size: int, proof: Proof | None
) -> list[SubmittedRow]:
    current = engine()
    params = {
        "owner": owner_id,
        "limit": conf().ACTIVE_LIMIT,
        "rows": rows,
        "count": count,
        "size": size,
        **allowance.bounds(),
    }
    accepted = current.submit(params, proof)
    if not accepted and proof is not None:
        raise Unproven
    if not accepted:
        open_quota(owner_id)
        accepted = current.submit(params)
    if not accepted:
        raise allowance.refusal(owner_id, params)
    return accepted


def claim(
    queue: str, batch_sizes: dict[str, int], *, worker_id: int, process: int
) -> tuple[list[ClaimedTask], bool]:
    """Claim the next ready tasks for a process, in fair order; and whether more wait.

    ``batch_sizes`` has, for each task type that the process knows, how many tasks it takes
    together: the claim goes on along the queue while the type of the next task allows that many.
    A worker without a lease claims nothing.
    """
    ask = partial(engine().claim, queue, batch_sizes, worker_id=worker_id, process=process)
    claimed = fair_queue.take(queue, max(batch_sizes.values()) + 1, ask)
    rows = claimed.rows
    notifications.on_commit(
        changes=[(row.owner_id, row.task.id, Status.IN_PROGRESS) for row in rows]
    )
    return [row.task for row in rows], claimed.looked_at > len(rows)


class LockedTasks(list[ClaimedTask]):
    """Tasks that an open transaction has locked, until that transaction ends.

    ``seen`` is how many ready tasks were found, at most one more than the largest batch; ``ended``
    is how many of them have ended.
    """

    def __init__(self, tasks: Iterable[ClaimedTask], *, seen: int, transaction: ExitStack) -> None:
        super().__init__(tasks)
        self.seen = seen
        self.ended = 0
        self.is_open = True
        self.failure: Exception | None = None
        self._transaction = transaction

    def claim(
        self, task: ClaimedTask, results: Sequence[AttemptResult], *, worker_id: int, process: int
    ) -> None:
        """Claim the task that runs, write the results of those before it, and commit.

        The tasks behind it are unlocked.
        """
        try:
            self.finish_unclaimed(results)
            self.ended += 1
            _claim_locked(
                Task.objects.filter(id=task.id), task.fence, worker_id=worker_id, process=process
            )
            owner_id = Task.objects.values_list("owner_id", flat=True).get(id=task.id)
            notifications.on_commit(changes=[(owner_id, task.id, Status.IN_PROGRESS)])
            self.is_open = False
            self._transaction.close()
        except Exception as error:
            self.failure = error
            raise

    def finish_unclaimed(self, results: Sequence[AttemptResult]) -> None:
        self.ended += len(results)
        transitions.finish_unclaimed(results)


@contextmanager
def lock_ready(queue: str, batch_sizes: dict[str, int]) -> Iterator[LockedTasks]:
    """Lock the next ready tasks, which the caller runs and ends: one transaction.

    For types that take milliseconds: claim and end are one write. The queue stops at a type with
    a batch size of 0, because it must be claimed. It also stops at a task that may run only once,
    because tasks run again if the commit fails; and at one that was claimed before and handed back.

    The caller passes the results to ``finish_unclaimed``, of all tasks or of the first of them. It
    may claim a task while that runs; that task is the last, and its result is written by
    ``finish``.

    No attempt is written before it has run. If the process dies, ``claim_for_dead_process`` writes
    it.
    """
    with ExitStack() as stack:
        stack.enter_context(transaction.atomic())

        def unlocked(note: Callable[[], None]) -> None:
            stack.close()
            note()
            stack.enter_context(transaction.atomic())

        ask = partial(engine().lock, queue, batch_sizes)
        locked = fair_queue.take(queue, max(batch_sizes.values()) + 1, ask, between=unlocked)
        runnable = _runnable(locked.rows, batch_sizes)
        yield LockedTasks(runnable, seen=locked.looked_at, transaction=stack)


def _runnable(rows: Sequence[LockedRow], batch_sizes: dict[str, int]) -> Iterator[ClaimedTask]:
    """The first of these tasks that may run without a claim, and together."""
    fits = max(batch_sizes.values())
    for number, row in enumerate(rows, 1):
        fits = min(fits, 0 if row.must_be_claimed else batch_sizes[row.task.task_type])
        if number > fits:
            return
        yield row.task


def claim_for_dead_process(
    task_id: int, fence: int, *, worker_id: int, process: int, charged: bool = True
) -> bool:
    """Claim, for a dead process, the task that it was running without a claim.

    Then the task is rescued like any other that the process held. ``fence`` is the one that a
    claim would have given to the process. If another process has claimed the task meanwhile, this
    attempt is added to the attempts that count, if it is ``charged``. Returns false if the row is
    locked, and the caller must try again; a further call after a claim changes nothing.
    """
    with transaction.atomic():
        # A locked row already belongs to another process, and the watchdog must not wait for it.
        task = Task.objects.filter(id=task_id).lock_skipping().first()
        if task is None:
            return not Task.objects.filter(id=task_id).exists()
        row = Task.objects.filter(id=task_id)
        if task.ready and task.fence == fence - 1:
            _claim_locked(row, fence, worker_id=worker_id, process=process)
        elif charged and task.fence >= fence and _is_held_elsewhere(task, worker_id, process):
            row.update(
                attempt=Least(F("attempt") + 1, F("max_attempts")), changed=engine().change()
            )
    return True


def _is_held_elsewhere(task: Task, worker_id: int, process: int) -> bool:
    return task.worker_id is not None and (task.worker_id, task.process) != (worker_id, process)


def _claim_locked(tasks: TaskQuerySet, fence: int, *, worker_id: int, process: int) -> None:
    """Claim tasks that this transaction has locked."""
    tasks.update(
        status=Status.IN_PROGRESS,
        ready=False,
        worker_id=worker_id,
        process=process,
        fence=fence,
        attempt=F("attempt") + Case(When(resumes=True, then=0), default=1),
        resumes=False,
        claimed_at=Now(),
        started_at=Coalesce("started_at", Now()),
        changed=engine().change(),
    )


def report(task: ClaimedTask, progress: str | None) -> AttemptState:
    """Write the progress of a running task (JSON text), and read the state of its attempt."""
    held = Task.objects.held_by_attempt(task.id, task.fence)
    if progress is not None:
        with transaction.atomic():
            held.update(progress=json.loads(progress), changed=engine().change())
    row = held.values_list("owner_id", "cancel_requested_at").first()
    if row is None:
        return AttemptState.LOST
    owner_id, cancel_requested_at = row
    if progress is not None:
        notifications.on_commit(changes=[(owner_id, task.id, Status.IN_PROGRESS)])
    return AttemptState.CURRENT if cancel_requested_at is None else AttemptState.CANCELLING


def keep_checkpoint(task: ClaimedTask, checkpoint: str, *, saved_files: bool = False) -> bool:
    """Write a handler's checkpoint (JSON text); false if the attempt is not current."""
    held = Task.objects.held_by_attempt(task.id, task.fence)
    with transaction.atomic() if saved_files else nullcontext():
        is_current = bool(held.update(checkpoint=json.loads(checkpoint), slept=0))
        if saved_files and is_current:
            followers.files().kept(task.id, fence=task.fence)
    return is_current


def cancel(task_id: int, *, by_id: UserId | None) -> Task:
    """Cancel a waiting task at once, or request that a running attempt stops.

    Returns the task as it is then: cancelled, or in progress with ``cancel_requested_at``. Raises
    NotCancellable if it has completed or failed, Task.DoesNotExist.
    """
    with transaction.atomic():
        task = Task.objects.select_for_update(of=("self",)).get(id=task_id)
        if task.status == Status.CANCELLED:
            return task
        if task.status in TERMINAL:
            raise NotCancellable(status=task.status)
        _request_cancel([task], by_id)
        task.refresh_from_db()
    return task


def cancel_next(tasks: TaskQuerySet, *, by_id: UserId | None) -> int:
    """Cancel the next ``BATCH_SIZE`` of these tasks whose cancel was not requested yet; how many.

    Left out are tasks that another transaction has locked, and waiting tasks of owners whose
    quota is locked.
    """
    requested = 0

    def request(tasks: TaskQuerySet, lock: busy.Lock) -> busy.Looked:
        nonlocal requested
        with transaction.atomic():
            locked = list(tasks.lock_skipping().only("owner", "worker")[:BATCH_SIZE])
            busy_owners = lock(task.owner_id for task in locked if task.worker_id is None)
            chosen = [
                task
                for task in locked
                if task.worker_id is not None or task.owner_id not in busy_owners
            ]
            _request_cancel(chosen, by_id)
        requested += len(chosen)
        return busy.Looked(len(locked), busy_owners)

    not_requested = tasks.active().filter(cancel_requested_at=None)
    busy.sparing_the_busy(not_requested, request, at_most=BATCH_SIZE)
    return requested


def _request_cancel(tasks: Sequence[Task], by_id: UserId | None) -> None:
    """Note, once, that these locked tasks are to stop; cancel those that no process holds."""
    Task.objects.filter(id__in=[task.id for task in tasks], cancel_requested_at=None).update(
        cancel_requested_at=Now(), cancel_requested_by=by_id, changed=engine().change()
    )
    notifications.on_commit(
        changes=[
            (task.owner_id, task.id, Status.IN_PROGRESS)
            for task in tasks
            if task.worker_id is not None
        ]
    )
    transitions.cancel_waiting({task.id: task.owner_id for task in tasks if task.worker_id is None})


def retry(task: Task) -> Task:
    """Submit the same again as a new task.

    The secrets of its input are copied as they are stored. Raises NotRetryable, QuotaExceeded,
    InvalidInput if a file was deleted, InputNotKept, SecretUnreadable, and Task.DoesNotExist if the
    task has just been deleted.
    """
    if task.status not in (Status.ERROR, Status.CANCELLED):
        raise NotRetryable(status=task.status)
    if task.input_data is None:
        raise InputNotKept
    with transaction.atomic():
        # Tasks before quotas: the new row refers to this one, which a purge may delete.
        Task.objects.select_for_update(of=("self",), no_key=True).get(id=task.id)
        return submit(
            task.owner_id,
            NewTask(
                task_type=task.task_type,
                queue=task.queue,
                input_data=task.input_data,
                priority=task.priority,
                max_attempts=task.max_attempts,
                timeout_seconds=task.timeout_seconds,
                tags=tuple(task.tags),
                retry_of_id=task.id,
                band=band_for(task.task_type, task.priority),
                files=files_of(task.task_type, task.input_data) if task.has_files else (),
            ),
        )


def release_due() -> set[str]:
    """Make tasks ready whose ``wake_at`` has come; the queues that have new work."""
    due = Task.objects.due_to_wake()
    if not due.exists():
        return set()
    with transaction.atomic():
        chosen = dict(due.lock_skipping().values_list("id", "queue")[:BATCH_SIZE])
        Task.objects.filter(id__in=chosen).update(ready=True, wake_at=None)
    return set(chosen.values())


def rescue(lost: TaskQuerySet, reason_of: Callable[[Task], LossReason] = assume_lost) -> set[str]:
    """Take tasks from processes that are gone; the queues that have new work.

    ``reason_of`` says why the attempt is lost. A task with attempts left is ready again at once; a
    task with a requested cancel is cancelled; another ends in error. Left out are tasks that
    another transaction has locked, and, of those that end, the tasks of owners whose quota is
    locked.
    """
    queues: set[str] = set()

    def take(tasks: TaskQuerySet, lock: busy.Lock) -> busy.Looked:
        looked, by_decision = _rescue_next(tasks, lock, reason_of)
        queues.update(
            task.queue
            for decision in by_decision
            if decision.again
            for task in by_decision[decision]
        )
        return looked

    if lost.exists():
        busy.sparing_the_busy(lost, take, at_most=BATCH_SIZE)
    return queues


def _rescue_next(
    lost: TaskQuerySet, lock: busy.Lock, reason_of: Callable[[Task], LossReason]
) -> tuple[busy.Looked, dict[RescueDecision, list[Task]]]:
    with transaction.atomic():
        decided = [
            (task, _decision_for(task, reason_of(task)))
            for task in lost.lock_skipping()[:BATCH_SIZE]
        ]
        busy_owners = lock(task.owner_id for task, decision in decided if not decision.again)
        by_decision: dict[RescueDecision, list[Task]] = {}
        for task, decision in decided:
            if decision.again or task.owner_id not in busy_owners:
                by_decision.setdefault(decision, []).append(task)
        for decision, tasks in by_decision.items():
            transitions.lose_attempts(tasks, decision)
    for decision, tasks in by_decision.items():
        for task in tasks:
            logger.warning("task taken back", extra={"task": task.id, "as": decision.code})
    return busy.Looked(len(decided), busy_owners), by_decision


def _decision_for(task: Task, reason: LossReason) -> RescueDecision:
    return RescueDecision.of(
        reason,
        cancelling=task.cancel_requested_at is not None,
        attempts_left=task.attempt < task.max_attempts,
    )
