"""The host project of the tests with two backends of Django tasks: ours, and django-tasks-db."""

import django

from tests.host_project.settings import *  # noqa: F403
from tests.host_project.settings import INSTALLED_APPS as HOST

INSTALLED_APPS = [*HOST, *([] if django.VERSION >= (6, 0) else ["django_tasks"]), "django_tasks_db"]
TASKS = {
    "default": {"BACKEND": "taskyard.contrib.django_tasks.TaskyardBackend"},
    "peer": {"BACKEND": "django_tasks_db.DatabaseBackend"},
}
