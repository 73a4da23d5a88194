"""The Django app of the record: loads the task types when the models are ready."""

from contextlib import suppress
from importlib import import_module

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured

from taskyard.core import task_modules
from taskyard.core.conf import conf


class CoreConfig(AppConfig):
    name = "taskyard.core"
    label = "taskyard"
    verbose_name = "Taskyard"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        import_module("taskyard.core.checks")
        import_module("taskyard.core.sessions")
        import_module("taskyard.core.totals")
        import_module("taskyard.catalog.builtin")
        with suppress(ImproperlyConfigured):  # core.checks says what is wrong
            task_modules.load(conf().TASK_TYPES)
