"""The names of Django's task framework: ``django.tasks``, before Django 6 ``django_tasks``."""

from typing import TYPE_CHECKING, Any

import django

__all__ = [
    "BaseTaskBackend",
    "InvalidTask",
    "InvalidTaskBackend",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultStatus",
    "normalize_json",
    "task_backends",
    "task_enqueued",
    "task_finished",
    "task_started",
]

if TYPE_CHECKING:
    from django.tasks import base

    Task = base.Task[..., Any]
    TaskContext = base.TaskContext[..., Any]
    TaskResult = base.TaskResult[..., Any]

    def normalize_json(value: object) -> Any: ...

elif django.VERSION >= (6, 0):
    from django.tasks.base import Task, TaskContext, TaskResult
    from django.utils.json import normalize_json
else:
    from django_tasks.base import Task, TaskContext, TaskResult
    from django_tasks.utils import normalize_json

if TYPE_CHECKING or django.VERSION >= (6, 0):
    from django.tasks import TaskResultStatus, task_backends
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import TaskError
    from django.tasks.exceptions import InvalidTask, InvalidTaskBackend, TaskResultDoesNotExist
    from django.tasks.signals import task_enqueued, task_finished, task_started
else:
    from django_tasks import TaskResultStatus, exceptions, task_backends
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import TaskError
    from django_tasks.exceptions import TaskResultDoesNotExist
    from django_tasks.signals import task_enqueued, task_finished, task_started

    # Its versions until 0.12 name it otherwise than Django.
    InvalidTask = getattr(exceptions, "InvalidTask", None) or exceptions.InvalidTaskError
    InvalidTaskBackend = (
        getattr(exceptions, "InvalidTaskBackend", None) or exceptions.InvalidTaskBackendError
    )
