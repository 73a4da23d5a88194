"""The queues that this worker serves."""

from taskyard.catalog.task_type import registry
from taskyard.core.conf import conf


def served_queues() -> list[str]:
    """The configured queues (``TASKYARD_QUEUES``), or else the queues of all task types."""
    return conf().QUEUES or registry.queues()
