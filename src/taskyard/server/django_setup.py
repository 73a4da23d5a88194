"""Set Django up in a command that is not started by Django."""

import os
import sys
import traceback

from taskyard.server import env
from taskyard.server.env import ConfigurationError


def load_django() -> None:
    """Set Django up. Raises ConfigurationError for a task type module that cannot be imported."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "taskyard.server.settings")
    # As with Celery, modules of task types can lie in the folder where the command is typed.
    sys.path.insert(0, os.getcwd())
    import django

    from taskyard.core.task_modules import UnusableModule

    try:
        django.setup()
    except UnusableModule as error:
        if env.read(os.environ)["TASKYARD_LOG_LEVEL"] == "DEBUG":
            traceback.print_exception(error.__cause__)
        raise ConfigurationError(str(error)) from None
