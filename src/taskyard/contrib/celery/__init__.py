"""For projects that use Celery: run its tasks in Taskyard, and Taskyard's tasks in its workers."""

from taskyard.contrib.celery.exposed import expose

__all__ = ["expose"]
