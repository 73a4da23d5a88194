"""How attempts and tasks end: every end is written here, and nowhere else.

``finish`` and ``finish_unclaimed`` write the results of attempts, ``lose_attempts`` takes tasks
from processes that are gone, and ``end_tasks`` ends tasks without a result. Each end releases the
quota place of its task in the same transaction, and calls ``_announce``.
"""

import logging
from collections.abc import Iterable, Sequence
from contextlib import nullcontext

from django.db import transaction
from django.db.models.functions import Now

from taskyard.catalog.task_type import registry
from taskyard.core import followers, history, notifications
from taskyard.core.engine import engine
from taskyard.core.forgetting import forget_inputs
from taskyard.core.models import Task
from taskyard.core.states import ACTIVE, TERMINAL, Status
from taskyard.core.types import MESSAGES, AttemptResult, Change, RescueDecision, UserId

logger = logging.getLogger(__name__)


def finish(results: Sequence[AttemptResult]) -> set[int]:
    """Write how claimed attempts ended, all together; the ids of those that were still current.

    A task that ends releases its quota place in the same transaction. Nothing is written for an
    attempt that came late: the task was taken from it before.
    """
    active = [result for result in results if result.status in ACTIVE]
    failed = [result for result in results if result.traceback]
    with_files = followers.with_files(results)
    more = active or failed or with_files or _without_input(results)
    # Most attempts end with one statement, which needs no transaction block.
    with transaction.atomic() if more else nullcontext():
        owner_ids = engine().finish(results)
        _attempts_ended(results, owner_ids, with_files)
        if active:
            _cancel_if_requested(
                [result.task.id for result in active if result.task.id in owner_ids]
            )
    for result in results:
        if result.task.id not in owner_ids:
            logger.warning("late write refused", extra={"task": result.task.id})
    return set(owner_ids)


def finish_unclaimed(results: Sequence[AttemptResult]) -> None:
    """Write claim and end of attempts whose tasks this transaction has locked.

    Raises RuntimeError if one of them is not current, which its lock prevents.
    """
    if not results:
        return
    owner_ids = engine().finish_unclaimed(results)
    if len(owner_ids) != len(results):
        raise RuntimeError("a locked task has changed")
    _attempts_ended(results, owner_ids, followers.with_files(results))


def lose_attempts(tasks: Sequence[Task], decision: RescueDecision) -> None:
    """End the attempts of locked tasks whose process is gone: all are ready again, or all end."""
    if not decision.again:
        owner_ids = {task.id: task.owner_id for task in tasks}
        end_tasks(owner_ids, decision.status, decision.code, MESSAGES[decision.code])
        return
    if not decision.resumes:
        history.record_lost(tasks, decision.code)
    Task.objects.filter(id__in=[task.id for task in tasks]).update(
        status=Status.PENDING,
        ready=True,
        resumes=decision.resumes,
        worker=None,
        process=None,
        error_code="",
        error_message="",
        changed=engine().change(),
    )
    _announce((task.owner_id, task.id, Status.PENDING) for task in tasks)


def cancel_waiting(owner_ids: dict[int, UserId | None]) -> None:
    """Cancel locked tasks that no process holds."""
    end_tasks(owner_ids, Status.CANCELLED, "cancelled_at_once")


def end_tasks(
    owner_ids: dict[int, UserId | None],
    status: Status,
    error_code: str,
    error_message: str | None = None,
) -> None:
    """End locked tasks without a result; ``owner_ids`` has the owner's id by the task's id.

    Without ``error_message``, the message of the last attempt stays.
    """
    if not owner_ids:
        return
    message = {} if error_message is None else {"error_message": error_message}
    Task.objects.filter(id__in=owner_ids).update(
        status=status,
        ready=False,
        resumes=False,
        wake_at=None,
        worker=None,
        process=None,
        finished_at=Now(),
        error_code=error_code,
        changed=engine().change(),
        **message,
    )
    engine().release([(owner_id, status) for owner_id in owner_ids.values()])
    if registry.forgetful:
        forget_inputs(owner_ids)
    _announce((owner_id, task_id, status) for task_id, owner_id in owner_ids.items())


def _attempts_ended(
    results: Sequence[AttemptResult],
    owner_ids: dict[int, UserId | None],
    with_files: Sequence[AttemptResult],
) -> None:
    """Keep the history of attempts that were written: those in ``owner_ids``."""
    written = [result for result in results if result.task.id in owner_ids]
    history.record_attempts(
        result for result in written if result.error_code and result.status in ACTIVE
    )
    history.record_tracebacks(written)
    if of_files := [result for result in with_files if result.task.id in owner_ids]:
        followers.files().ended(of_files)
    if task_ids := _without_input(written):
        forget_inputs(task_ids)
    _announce((owner_ids[result.task.id], result.task.id, result.status) for result in written)


def _without_input(results: Sequence[AttemptResult]) -> list[int]:
    """The tasks that end with these results, and whose input is not kept."""
    if not registry.forgetful:
        return []
    return [
        result.task.id
        for result in results
        if result.status in TERMINAL and result.task.task_type in registry.forgetful
    ]


def _cancel_if_requested(task_ids: list[int]) -> None:
    """Cancel tasks whose attempt goes on later, if a cancel was requested while it ran."""
    requested = Task.objects.filter(id__in=task_ids, cancel_requested_at__isnull=False)
    cancel_waiting(dict(requested.lock_skipping().values_list("id", "owner_id")))


def _announce(changes: Iterable[Change]) -> None:
    """Announce changes of tasks at the commit; every end of an attempt or a task calls this.

    Work that has to follow the end of a task belongs here: the rows are written and, except for
    most calls of ``finish``, the transaction is open.
    """
    notifications.on_commit(changes=changes)
