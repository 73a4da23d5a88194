"""A worker for tests: it claims and ends tasks through the lifecycle when a test calls it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from taskyard.core import leases, lifecycle, transitions
from taskyard.core.models import Worker
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult, ClaimedTask


def take_lease(*queues: str, concurrency: int = 1) -> int:
    """The id of a worker whose lease outlasts the test, because no process renews it."""
    worker_id = leases.take(concurrency=concurrency, queues=list(queues))
    Worker.objects.filter(id=worker_id).update(lease_until=Now() + timedelta(hours=1))
    return worker_id


class FakeWorker:
    def __init__(self) -> None:
        self.worker_id = take_lease("default")

    def claim(self, most: int = 1000) -> list[ClaimedTask]:
        batch_sizes = {"sum": most, "countdown": most}
        return lifecycle.claim("default", batch_sizes, worker_id=self.worker_id, process=1)[0]

    def finish(self, claimed: ClaimedTask, status: Status, **how: Any) -> bool:
        """End an attempt; false if it was not current."""
        return bool(transitions.finish([AttemptResult(task=claimed, status=status, **how)]))

    def end(self, status: Status, **how: Any) -> None:
        """Claim all ready tasks and end them with this status."""
        for claimed in self.claim():
            assert self.finish(claimed, status, **how)


def run_in_transaction(
    queue: str,
    batch_sizes: dict[str, int],
    run: Callable[[lifecycle.LockedTasks], list[AttemptResult]],
) -> tuple[int, int]:
    """Lock the next tasks and end those that ``run`` returns; how many were seen, and ended."""
    with lifecycle.lock_ready(queue, batch_sizes) as locked:
        if locked.seen:
            locked.finish_unclaimed(run(locked))
    return locked.seen, locked.ended
