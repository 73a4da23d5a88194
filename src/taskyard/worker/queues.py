"""The queues that this worker serves."""

from django.conf import settings

from taskyard.catalog.task_type import registry


def served_queues() -> list[str]:
    """The configured queues (``TASKYARD_QUEUES``), or else the queues of all task types."""
    return settings.TASKYARD_QUEUES or registry.queues()
