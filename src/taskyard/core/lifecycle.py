"""Every change of a task's state. The only writer; each change is guarded and happens once.

Claims and ends of attempts are guarded by the fence; whoever comes late changes nothing and is
told so. The order of locks is always tasks, then accounts.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, When
from django.db.models.functions import Coalesce, Least, Now

from taskyard.core import allowance, busy, history, notifications
from taskyard.core.engine import dialect, rows_of, rows_of_new
from taskyard.core.errors import (
    CredentialUnverified,
    NotCancellable,
    NotRetryable,
)
from taskyard.core.models import Account, Task
from taskyard.core.querysets import TaskQuerySet
from taskyard.core.states import ACTIVE, TERMINAL, Status
from taskyard.core.types import (
    MESSAGES,
    AttemptResult,
    AttemptState,
    Change,
    ClaimedTask,
    LossReason,
    NewTask,
    RescueDecision,
)

SWEEP = 1000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
logger = logging.getLogger(__name__)


def assume_lost(task: Task) -> LossReason:
    """The reason if nothing is known: the attempt may have run, so it counts."""
    return LossReason.LOST


def open_account(owner_id: int) -> None:
    """Give a user a quota counter, unless there is one."""
    Account.objects.bulk_create([Account(user_id=owner_id)], ignore_conflicts=True)


def submit(owner_id: int, new: NewTask, *, credential: str | None = None) -> Task:
    """Accept one task; raises QuotaExceeded, with a credential CredentialUnverified.

    ``credential`` is the fingerprint of the owner's password, for whoever has not looked the owner
    up: the statement that takes the place then also sees that the owner is active and has it.
    """
    ((task_id, since_epoch, ready),) = _accept(owner_id, [new], credential)
    created_at = EPOCH + timedelta(microseconds=since_epoch)
    fields = {**_fields_of_new(), **new._asdict(), "tags": list(new.tags)}
    if delay := fields.pop("delay_microseconds"):
        fields["run_at"] = created_at + timedelta(microseconds=delay)
    fields |= {
        "id": task_id,
        "owner_id": owner_id,
        "created_at": created_at,
        "ready": bool(ready),
    }
    return Task.from_db(None, fields.keys(), fields.values())


@cache
def _fields_of_new() -> dict[str, Any]:
    """What a new task has, by column. Django's own way takes three times as long."""
    return {field.attname: field.get_default() for field in Task._meta.concrete_fields}


def submit_all(owner_id: int, new: Sequence[NewTask]) -> list[int]:
    """Accept all of them, in this order, or none; their ids. Raises QuotaExceeded."""
    return [row[0] for row in _accept(owner_id, new)]


def _accept(
    owner_id: int, new: Sequence[NewTask], credential: str | None = None
) -> list[tuple[int, int, bool]]:
    """Take the places and insert the rows, in one change; id, time (µs), readiness of each."""
    sql = dialect()
    rows = rows_of_new(new)
    params = {
        "owner": owner_id,
        "limit": settings.TASKYARD_ACTIVE_LIMIT,
        "credential": credential,
        "rows": rows,
        "count": len(new),
        "size": allowance.size_of_each(rows, len(new)),
        **allowance.bounds(),
    }
    accepted = sql.submit(params)
    if not accepted and credential is not None:
        raise CredentialUnverified
    if not accepted:
        open_account(owner_id)
        accepted = sql.submit(params)
    if not accepted:
        raise allowance.refusal(owner_id, params)
    accepted.sort()
    notifications.on_commit(
        {each.queue for (_, _, ready), each in zip(accepted, new, strict=True) if ready},
        [(owner_id, row[0], Status.PENDING) for row in accepted],
    )
    return list(accepted)


def claim(
    queue: str, batch_sizes: dict[str, int], *, worker_id: int, process: int
) -> tuple[list[ClaimedTask], bool]:
    """Give this process the next ready tasks, in priority order, and say whether more wait.

    ``batch_sizes`` says for each task type that it knows how many it takes together: the claim goes
    on along the queue only while the next task's type allows that many. A worker without a lease
    is given none.
    """
    rows = dialect().claim(
        {
            "queue": queue,
            "caps": json.dumps(batch_sizes),
            "limit": max(batch_sizes.values()) + 1,
            "worker": worker_id,
            "process": process,
        }
    )
    rows.sort(key=lambda row: (-row[12], row[0]))
    claimed = [ClaimedTask._make((*row[:12], row[13] is not None)) for row in rows]
    _publish((row[14], row[0], Status.IN_PROGRESS) for row in rows)
    return claimed, bool(rows) and rows[0][15] > len(rows)


class LockedTasks(list[ClaimedTask]):
    """Tasks that an open transaction holds. Its end is also the end of this."""

    def __init__(self, tasks: Iterable[ClaimedTask], transaction: ExitStack) -> None:
        super().__init__(tasks)
        self.is_open = True
        self.ended = 0
        self.failure: Exception | None = None
        self._transaction = transaction

    def claim(
        self, task: ClaimedTask, ended: Sequence[AttemptResult], *, worker_id: int, process: int
    ) -> None:
        """Claim the task that runs, write how those before it ended, let go of the others."""
        try:
            self.finish_unclaimed(ended)
            self.ended += 1
            _claim_as_locked(
                Task.objects.filter(id=task.id), task.fence, worker_id=worker_id, process=process
            )
            owner_id = Task.objects.values_list("owner_id", flat=True).get(id=task.id)
            _publish([(owner_id, task.id, Status.IN_PROGRESS)])
            self.is_open = False
            self._transaction.close()
        except Exception as error:
            self.failure = error
            raise

    def finish_unclaimed(self, endings: Sequence[AttemptResult]) -> None:
        self.ended += len(endings)
        if not endings:
            return
        current = dict(dialect().finish_unclaimed({"rows": rows_of(endings)}))
        history.record_attempts(
            each for each in endings if each.status in ACTIVE and each.error_code
        )
        history.record_tracebacks(endings)
        _publish((current[each.task.id], each.task.id, each.status) for each in endings)


def run_in_transaction(
    queue: str, batch_sizes: dict[str, int], run: Callable[[LockedTasks], list[AttemptResult]]
) -> tuple[int, int]:
    """Lock the next ready tasks, have them run, and write how they ended: one transaction.

    For types that take milliseconds: claim and end are one write. A type with a batch size of 0
    stops the queue, because it must be claimed. So does a task that may run but once, for if the
    commit fails, what ran here runs again; and one that was begun before and handed back.
    Answers how many tasks were seen to wait, at most one more than the largest batch, and how many
    have ended. ``run`` may end fewer than it is given, and claim one while it runs, which is the
    last; that one's end it writes itself.

    No attempt is written before it has run. If the process dies, ``claim_for_dead_process`` writes
    it.
    """
    with ExitStack() as stack:
        stack.enter_context(transaction.atomic())
        rows = dialect().lock(
            {
                "queue": queue,
                "caps": json.dumps(batch_sizes),
                "limit": max(batch_sizes.values()) + 1,
            }
        )
        locked = LockedTasks(_runnable(rows, batch_sizes), stack)
        if rows:
            locked.finish_unclaimed(run(locked))
    return len(rows), locked.ended


def _runnable(rows: Sequence[Sequence[Any]], batch_sizes: dict[str, int]) -> Iterator[ClaimedTask]:
    fits = max(batch_sizes.values())
    now = EPOCH + timedelta(microseconds=rows[0][-1]) if rows else EPOCH
    for number, row in enumerate(rows, 1):
        must_be_claimed = row[-2]
        fits = min(fits, 0 if must_be_claimed else batch_sizes[row[1]])
        if number > fits:
            return
        yield ClaimedTask._make((*row[:-2], now, now, now, False))


def claim_for_dead_process(
    task_id: int, fence: int, *, worker_id: int, process: int, charged: bool = True
) -> bool:
    """Claim in a dead process's name the task that it was running without a claim.

    From then on it is like any other that its process has dropped. ``fence`` is that which the
    claim would have given it. Where the task has been begun elsewhere meanwhile, the attempt is
    added to those that count, if it is ``charged``. False where the row is locked, and it has to
    be asked again; to ask again after a claim changes nothing.
    """
    with transaction.atomic():
        # Locked still, it is in another's hands already, and the watchdog may not wait for that.
        task = Task.objects.filter(id=task_id).locked().first()
        if task is None:
            return not Task.objects.filter(id=task_id).exists()
        found = Task.objects.filter(id=task_id)
        if task.ready and task.fence == fence - 1:
            _claim_as_locked(found, fence, worker_id=worker_id, process=process)
        elif charged and task.fence >= fence and _is_held_elsewhere(task, worker_id, process):
            found.update(
                attempt=Least(F("attempt") + 1, F("max_attempts")), changed=dialect().change()
            )
    return True


def _is_held_elsewhere(task: Task, worker_id: int, process: int) -> bool:
    return task.worker_id is not None and (task.worker_id, task.process) != (worker_id, process)


def _claim_as_locked(tasks: TaskQuerySet, fence: int, *, worker_id: int, process: int) -> None:
    """Claim what this transaction has locked."""
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
        changed=dialect().change(),
    )


def finish(endings: Sequence[AttemptResult]) -> set[int]:
    """Write how attempts ended, all together; the ids of those that were still current.

    A terminal ending releases the quota place in the same transaction. An ending that is not in
    the answer came late: the task had been taken from this attempt, and nothing was written.
    """
    going_on = [ending for ending in endings if ending.status in ACTIVE]
    failed = [ending for ending in endings if ending.traceback]
    with transaction.atomic() if going_on or failed else nullcontext():
        current = dict(dialect().finish({"rows": rows_of(endings)}))
        going_on = [ending for ending in going_on if ending.task.id in current]
        history.record_attempts(ending for ending in going_on if ending.error_code)
        history.record_tracebacks(ending for ending in failed if ending.task.id in current)
        if going_on:
            _cancel_idle([ending.task.id for ending in going_on])
    for ending in endings:
        if ending.task.id not in current:
            logger.warning("late write refused", extra={"task": ending.task.id})
    _publish(
        (current[ending.task.id], ending.task.id, ending.status)
        for ending in endings
        if ending.task.id in current
    )
    return set(current)


def report(task: ClaimedTask, progress: str | None) -> AttemptState:
    """Show how far a running task is (JSON text), and learn how its attempt stands."""
    held = Task.objects.held_by_attempt(task.id, task.fence)
    if progress is not None:
        with transaction.atomic():
            held.update(progress=json.loads(progress), changed=dialect().change())
    found = held.values_list("owner_id", "cancel_requested_at").first()
    if found is None:
        return AttemptState.LOST
    owner_id, cancel_requested_at = found
    if progress is not None:
        _publish([(owner_id, task.id, Status.IN_PROGRESS)])
    return AttemptState.CURRENT if cancel_requested_at is None else AttemptState.CANCELLING


def keep_checkpoint(task: ClaimedTask, checkpoint: str) -> bool:
    """Keep where a handler has got to (JSON text); false when the attempt is not current."""
    held = Task.objects.held_by_attempt(task.id, task.fence)
    return bool(held.update(checkpoint=json.loads(checkpoint), slept=0))


def cancel(task_id: int, *, by_id: int | None) -> Task:
    """Cancel a task at once, or ask its attempt to stop where one is running.

    The task as it is then: cancelled, or in progress with ``cancel_requested_at``. Raises
    NotCancellable where it has completed or failed, Task.DoesNotExist.
    """
    with transaction.atomic():
        task = Task.objects.select_for_update(of=("self",)).get(id=task_id)
        if task.status == Status.CANCELLED:
            return task
        if task.status in TERMINAL:
            raise NotCancellable(status=task.status)
        _ask_to_stop([task_id], by_id)
        task.refresh_from_db()
    _publish([(task.owner_id, task.id, Status(task.status))])
    return task


def cancel_next(tasks: TaskQuerySet, *, by_id: int | None) -> int:
    """The same for the next ``SWEEP`` of many that nobody has asked to stop, in one change; how
    many it were. Those that somebody is changing at the moment are left out, and those that end
    so and whose owner's account is locked."""
    asked = 0

    def ask(tasks: TaskQuerySet, lock: busy.Lock) -> busy.Looked:
        nonlocal asked
        with transaction.atomic():
            found = list(tasks.locked().only("owner", "worker")[:SWEEP])
            idle = {task.id for task in found if task.worker_id is None}
            owners = lock(task.owner_id for task in found if task.id in idle)
            chosen = [t.id for t in found if t.id not in idle or t.owner_id not in owners]
            _ask_to_stop(chosen, by_id)
            changed = Task.objects.filter(id__in=chosen).values_list("owner_id", "id", "status")
            changes = [(owner_id, task_id, Status(status)) for owner_id, task_id, status in changed]
        _publish(changes)
        asked += len(changes)
        return busy.Looked(len(found), owners)

    unasked = tasks.active().filter(cancel_requested_at=None)
    busy.sparing_the_busy(unasked, ask, at_most=SWEEP)
    return asked


def retry(task: Task) -> Task:
    """Submit the same again as a new task; raises NotRetryable, QuotaExceeded,
    Task.DoesNotExist where it has just been deleted."""
    if task.status not in (Status.ERROR, Status.CANCELLED):
        raise NotRetryable(status=task.status)
    with transaction.atomic():
        # Tasks before accounts: the new row refers to this one, which may be being deleted.
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
            ),
        )


def release_due() -> set[str]:
    """Make ready what has waited long enough; the queues that have new work."""
    due = Task.objects.due_to_wake()
    if not due.exists():
        return set()
    with transaction.atomic():
        chosen = dict(due.locked().values_list("id", "queue")[:SWEEP])
        Task.objects.filter(id__in=chosen).update(ready=True, wake_at=None)
    return set(chosen.values())


def rescue(lost: TaskQuerySet, reason_of: Callable[[Task], LossReason] = assume_lost) -> set[str]:
    """Take tasks from processes that are gone; the queues that have new work.

    ``reason_of`` says what each is charged with. A task with attempts left becomes ready
    again at once; one whose cancellation was asked for is cancelled; another ends in error. Left
    are those that somebody is changing at the moment, and of those that end the tasks of owners
    whose account is locked.
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
        busy.sparing_the_busy(lost, take, at_most=SWEEP)
    return queues


def _rescue_next(
    lost: TaskQuerySet, lock: busy.Lock, reason_of: Callable[[Task], LossReason]
) -> tuple[busy.Looked, dict[RescueDecision, list[Task]]]:
    with transaction.atomic():
        found = [(task, _decision_for(task, reason_of(task))) for task in lost.locked()[:SWEEP]]
        owners = lock(task.owner_id for task, decision in found if decision.status in TERMINAL)
        by_decision: dict[RescueDecision, list[Task]] = {}
        for task, decision in found:
            if decision.status in ACTIVE or task.owner_id not in owners:
                by_decision.setdefault(decision, []).append(task)
        for decision, tasks in by_decision.items():
            _apply_decision(tasks, decision)
        _release(
            Counter(
                (task.owner_id, decision.status)
                for decision, tasks in by_decision.items()
                if decision.status in TERMINAL
                for task in tasks
            )
        )
    for decision, tasks in by_decision.items():
        for task in tasks:
            logger.warning("task taken back", extra={"task": task.id, "as": decision.code})
        _publish((task.owner_id, task.id, decision.status) for task in tasks)
    return busy.Looked(len(found), owners), by_decision


def _decision_for(task: Task, reason: LossReason) -> RescueDecision:
    return RescueDecision.of(
        reason,
        cancelling=task.cancel_requested_at is not None,
        attempts_left=task.attempt < task.max_attempts,
    )


def _publish(changes: Iterable[Change]) -> None:
    notifications.on_commit((), changes)


def _apply_decision(tasks: list[Task], decision: RescueDecision) -> None:
    """Write one decision into rows that this transaction has locked."""
    if decision.status == Status.PENDING and not decision.resumes:
        history.record_lost(tasks, decision.code)
    Task.objects.filter(id__in=[task.id for task in tasks]).update(
        status=decision.status,
        ready=decision.again,
        resumes=decision.resumes,
        worker=None,
        process=None,
        error_code="" if decision.again else decision.code,
        error_message="" if decision.again else MESSAGES[decision.code],
        finished_at=None if decision.again else Now(),
        changed=dialect().change(),
    )


def _ask_to_stop(task_ids: list[int], by_id: int | None) -> None:
    """Of locked tasks, note the request once, and cancel those that no process holds."""
    Task.objects.filter(id__in=task_ids, cancel_requested_at=None).update(
        cancel_requested_at=Now(), cancel_requested_by=by_id, changed=dialect().change()
    )
    _cancel_idle(task_ids)


def _cancel_idle(task_ids: list[int]) -> None:
    """Cancel those of these tasks that were asked to stop and that no process holds."""
    idle = Task.objects.active().filter(
        id__in=task_ids, cancel_requested_at__isnull=False, worker=None
    )
    owners = list(idle.locked().values_list("owner_id", flat=True))
    if not owners:
        return
    idle.update(
        status=Status.CANCELLED,
        ready=False,
        wake_at=None,
        finished_at=Now(),
        error_code="cancelled_at_once",
        changed=dialect().change(),
    )
    _release(Counter((owner_id, Status.CANCELLED) for owner_id in owners))


def _release(ended: Counter[tuple[int, Status]]) -> None:
    """Give back the places of tasks that ended so, and count them as that."""
    for (owner_id, status), places in sorted(ended.items()):
        Account.objects.filter(user_id=owner_id).update(
            **{"active": F("active") - places, status.value: F(status.value) + places}
        )
