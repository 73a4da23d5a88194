"""The framework that is under test: that of Django, or the backport."""

from typing import TYPE_CHECKING

import django

if TYPE_CHECKING or django.VERSION >= (6, 0):
    from django.tasks import default_task_backend, exceptions, signals, task, task_backends
    from django.tasks.base import Task, TaskContext, TaskResult, TaskResultStatus
else:
    from django_tasks import default_task_backend, exceptions, signals, task, task_backends
    from django_tasks.base import Task, TaskContext, TaskResult, TaskResultStatus

from taskyard.contrib.django_tasks.framework import InvalidTask

InvalidTaskBackend = (
    getattr(exceptions, "InvalidTaskBackend", None) or exceptions.InvalidTaskBackendError
)
LOGGER = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
__all__ = [
    "LOGGER",
    "InvalidTask",
    "InvalidTaskBackend",
    "Task",
    "TaskContext",
    "TaskResult",
    "TaskResultStatus",
    "default_task_backend",
    "exceptions",
    "signals",
    "task",
    "task_backends",
]
