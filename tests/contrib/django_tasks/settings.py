"""Our own project, and the shop with its Django tasks."""

import django

from taskyard.server.settings import *  # noqa: F403
from taskyard.server.settings import INSTALLED_APPS as OWN
from tests.contrib.django_tasks import tasks_setting

TASKS = tasks_setting.TASKS
INSTALLED_APPS = [
    *OWN,
    *([] if django.VERSION >= (6, 0) else ["django_tasks"]),
    "tests.contrib.django_tasks.shop",
]
