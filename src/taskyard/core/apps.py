"""The Django app of the record: loads the task types when the models are ready."""

from importlib import import_module

from django.apps import AppConfig
from django.conf import settings

from taskyard.core import task_modules


class CoreConfig(AppConfig):
    name = "taskyard.core"
    label = "taskyard"
    verbose_name = "Taskyard"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        import_module("taskyard.core.checks")
        import_module("taskyard.core.totals")
        import_module("taskyard.catalog.builtin")
        task_modules.load(settings.TASKYARD_TASK_TYPES)
