"""Runs tasks in the process of a test, with the executor of a worker."""

from taskyard.catalog.task_type import registry
from taskyard.core import leases, lifecycle, transitions
from taskyard.core.types import AttemptResult
from taskyard.worker.executor import execute


def run_ready() -> list[AttemptResult]:
    """Claim the ready tasks of the default queue, run them and write how they ended."""
    worker_id = leases.take(concurrency=1, queues=["default"])
    sizes = {task_type.name: 100 for task_type in registry.all()}
    claimed, _ = lifecycle.claim("default", sizes, worker_id=worker_id, process=1)
    endings = [execute(task) for task in claimed]
    transitions.finish(endings)
    return endings
