"""For projects that use Celery: run its tasks in Taskyard, and Taskyard beside its workers."""

from taskyard.contrib.celery.exposed import expose
from taskyard.contrib.celery.joined import join

__all__ = ["expose", "join"]
