"""``TASKS`` with our backend, and a worker in this process."""

from collections.abc import Callable, Iterator

import pytest

from taskyard.catalog.task_type import registry
from taskyard.core import lifecycle, transitions
from taskyard.core.types import AttemptResult
from taskyard.worker import executor, identity
from tests.fake_worker import take_lease

Work = Callable[..., list[AttemptResult]]


@pytest.fixture
def work(transactional_db: None) -> Iterator[Work]:
    """Run the ready tasks of a queue in this process, as a worker does, until none is left."""
    before, identity.worker_id = (
        identity.worker_id,
        take_lease(*registry.queues()),
    )

    def work(queue: str = "default") -> list[AttemptResult]:
        endings: list[AttemptResult] = []
        while claimed := executor.claim(queue, on_failure=lambda: None)[0]:
            for task in claimed:
                endings.append(executor.execute(task))
                transitions.finish(endings[-1:])
            lifecycle.release_due()
        return endings

    yield work
    identity.worker_id = before
