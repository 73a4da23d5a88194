"""Run the tasks of ``django.tasks`` (before Django 6 of its backport) with Taskyard.

``TASKS = {"default": {"BACKEND": "taskyard.contrib.django_tasks.TaskyardBackend"}}``
"""

from taskyard.contrib.django_tasks.backend import TaskyardBackend, TaskyardTask
from taskyard.contrib.django_tasks.execution import Context

__all__ = ["Context", "TaskyardBackend", "TaskyardTask"]
