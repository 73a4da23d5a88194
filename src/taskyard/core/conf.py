"""The settings of Taskyard's apps: the dict ``TASKYARD`` in Django's settings, with their defaults.

Our own project fills the dict from the environment (``server/settings.py``); a host project writes
the keys that it wants to change.
"""

import re
from functools import cache
from typing import Annotated, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError


def _rate(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,8}/(s|sec|m|min|h|hour|d|day)", text):
        raise ValueError("expected a rate like 30/hour")
    return text


Rate = Annotated[str, AfterValidator(_rate)] | None
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]


class Conf(BaseModel):
    """The keys of ``TASKYARD``. None of a rate means that there is no limit."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    BROKER_URL: str | None = None
    """Redis or Valkey, also by its sentinels; without it workers find new work by polling."""
    TASK_TYPES: list[str] = []
    """Modules with task types, beside ``task_types`` of each installed app."""
    QUEUES: list[str] | None = None
    """The queues that a worker serves; None: all."""
    ACTIVE_LIMIT: Positive = 5
    """Active tasks a user."""
    SUBMIT_RATE: Rate = "1000000/hour"
    """Tasks that a user may submit."""
    BYTES_PER_USER: Positive = 10 * 2**30
    """What is kept of a user's tasks: inputs, results, and 1 KiB a task."""
    SHOW_TRACEBACKS: bool = False
    """Whether owners see the traceback of a failed attempt."""
    RETENTION_DAYS: Positive | None = None
    """Finished tasks are deleted after so many days; None: never."""
    LEASE_SECONDS: Annotated[float, Field(ge=2)] = 10
    """A worker that is silent for so long is believed dead, and its tasks run again."""
    DRAIN_SECONDS: Seconds = 25
    """How long a worker that is stopped lets its tasks run on."""
    CANCEL_GRACE_SECONDS: Seconds = 10
    """How long a running task may take to stop when it is cancelled."""
    MAX_TASKS_PER_CHILD: Annotated[int, Field(ge=0)] = 0
    """A worker process is replaced after so many tasks; 0: never."""
    MAX_MEMORY_PER_CHILD: Annotated[int, Field(ge=0)] | None = None
    """A worker process with more KiB of memory is replaced; None: a share of all memory."""
    TRUSTED_PROXIES: Annotated[int, Field(ge=0)] = 0
    """How many proxies in front append to X-Forwarded-For."""
    REGISTER_RATE: Rate = "30/hour"
    """Registrations an address."""
    LOGIN_RATE: Rate = "10/min"
    """Failed logins a name and address."""
    ATTEMPT_RATE: Rate = None
    """Logins and password changes an address, right or wrong; None: 20 times LOGIN_RATE."""
    ACCESS_MINUTES: Positive = 60
    """How long an access token is valid."""
    REFRESH_DAYS: Positive = 7
    """How long a refresh token is valid."""
    ROTATE_REFRESH: bool = False
    """Whether a refresh gives a new refresh token and ends the old one."""
    ROTATE_GRACE_SECONDS: Annotated[int, Field(ge=0)] = 10
    """How long a refresh token that was rotated still gives the same pair."""


@cache
def conf() -> Conf:
    """The settings in use. Raises ImproperlyConfigured for a key or a value that is none of ours.

    ``core.checks`` names every such key and value before the start.
    """
    try:
        return read(settings)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ImproperlyConfigured(f"TASKYARD in the settings: {faults}") from None


def read(source: Any) -> Conf:
    """The ``TASKYARD`` of a settings object. Raises pydantic's ValidationError."""
    return Conf.model_validate(getattr(source, "TASKYARD", {}))


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "TASKYARD":
        conf.cache_clear()


# Tests change settings.
setting_changed.connect(_forget)
