"""System checks of the backend: ``manage.py check`` names each mistake."""

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

from taskyard.catalog.task_type import NAME
from taskyard.contrib.django_tasks import declarations
from taskyard.core.conf import conf

if TYPE_CHECKING:
    from taskyard.contrib.django_tasks.backend import TaskyardBackend

OPTIONS = {"MAX_ATTEMPTS", "ALIASES"}


def check(backend: "TaskyardBackend") -> Iterator[CheckMessage]:
    """The mistakes in the settings of one backend, and the tasks that workers find late."""
    if not apps.is_installed("taskyard.core"):
        yield Error(
            "Taskyard's task backend needs its tables.",
            hint="Add 'taskyard.core' to INSTALLED_APPS.",
            id="taskyard.E101",
        )
        return
    yield from _check_options(backend)
    yield from _check_queues(backend)
    if urls := getattr(settings, "ROOT_URLCONF", None):
        import_module(urls)  # what they import may declare tasks; Django's checks have no order
    for name in declarations.late():
        yield Warning(
            f"Workers do not import {name} at their start, so its tasks may wait for an idle one.",
            hint="Move it to the module tasks of an installed app, or name its module in "
            "TASKYARD['TASK_TYPES'].",
            id="taskyard.W101",
        )
    for module, reason in declarations.failures.items():
        yield Warning(f"{module} cannot be imported: {reason}.", id="taskyard.W102")


def _check_options(backend: "TaskyardBackend") -> Iterator[CheckMessage]:
    where = f"TASKS[{backend.alias!r}]['OPTIONS']"
    for name in sorted(set(backend.options) - OPTIONS):
        yield Error(
            f"{where}[{name!r}] is not an option of Taskyard's task backend.",
            hint=f"It has {' and '.join(sorted(OPTIONS))}.",
            id="taskyard.E102",
        )
    attempts = backend.options.get("MAX_ATTEMPTS", 1)
    if type(attempts) is not int or not 1 <= attempts <= 10:
        yield Error(f"{where}['MAX_ATTEMPTS'] must be 1 to 10.", id="taskyard.E103")
    for former, current in backend.aliases.items():
        if not _exists(current):
            yield Error(
                f"{where}['ALIASES'][{former!r}]: there is no {current}.", id="taskyard.E104"
            )


def _exists(path: str) -> bool:
    """Whether a module or something in a module has this path."""
    try:
        import_module(path)
    except ImportError:
        try:
            import_string(path)
        except ImportError:
            return False
    return True


def _check_queues(backend: "TaskyardBackend") -> Iterator[CheckMessage]:
    where = f"TASKS[{backend.alias!r}]['QUEUES']"
    for name in sorted(backend.queues):
        if not NAME.fullmatch(name):
            yield Error(
                f"{where}: {name!r} cannot be a queue.",
                hint="A name has lower-case letters, digits, - and _, at most 50.",
                id="taskyard.E105",
            )
    if not backend.queues and conf().QUEUES is None:
        yield Warning(
            f"{where} allows any queue, but workers serve only those that they know.",
            hint="Name the queues there, or in TASKYARD['QUEUES'].",
            id="taskyard.W103",
        )
