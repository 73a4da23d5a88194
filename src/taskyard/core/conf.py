"""The settings of Taskyard's apps: the dict ``TASKYARD`` in Django's settings, with their defaults.

Our own project fills the dict from the environment (``server/settings.py``); a host project writes
the keys that it wants to change.
"""

import base64
import re
from email.utils import parseaddr
from functools import cache
from typing import Annotated, Any, Literal

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, Field, ValidationError

from taskyard.catalog.task_type import NAME


def _rate(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,8}/(s|sec|m|min|h|hour|d|day)", text):
        raise ValueError("expected a rate like 30/hour")
    return text


def _module(name: str) -> str:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ValueError("expected names of Python modules")
    return name


def _queue(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be a queue: lower-case letters, digits, - and _")
    return name


def _encryption_key(text: str) -> str:
    # The message never repeats the key.
    try:
        is_key = len(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)) == 32
    except ValueError:
        is_key = False
    if not is_key:
        raise ValueError("expected keys as `taskyard encryption-key` makes them")
    return text


def _sender(text: str) -> str:
    email = parseaddr(text)[1]
    if "," in text or not text.isprintable() or not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
        raise ValueError("expected a sender like taskyard@example.org or Name <address>")
    return text


def _public_url(url: str) -> str:
    url = url.rstrip("/")
    if not re.fullmatch(r"https?://([A-Za-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?", url):
        raise ValueError(
            "expected an address like https://tasks.example.org; a path is TASKYARD_BASE_PATH"
        )
    return url


Module = Annotated[str, AfterValidator(_module)]
Queue = Annotated[str, AfterValidator(_queue)]
EncryptionKey = Annotated[str, AfterValidator(_encryption_key)]
Rate = Annotated[str, AfterValidator(_rate)] | None
Bytes = Annotated[ByteSize, Field(ge=1, lt=2**62)]
Seconds = Annotated[float, Field(ge=0, le=3600)]


class Conf(BaseModel):
    """The keys of ``TASKYARD``. None of a rate means that there is no limit."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    BROKER_URL: str | None = None
    """Redis or Valkey, also by its sentinels; without it workers find new work by polling."""
    TASK_TYPES: list[Module] = []
    """Modules with task types, beside ``task_types`` of each installed app."""
    QUEUES: list[Queue] | None = None
    """The queues that a worker serves; by default all."""
    ACTIVE_LIMIT: Annotated[int, Field(ge=1, le=1_000_000)] = 5
    """Active tasks per user."""
    PRIORITY: Literal["own", "global"] = "own"
    """What the priority of a task sorts: `own`, the tasks of its owner alone; `global`, all tasks
    of the queue, so that every user can jump it."""
    SUBMIT_RATE: Rate = "1000000/hour"
    """Tasks that a user may submit; 429 beyond."""
    BYTES_PER_USER: Bytes = ByteSize(10 * 2**30)
    """What is kept of a user's tasks: inputs, results, and 1 KiB a task; 507 beyond."""
    FILE_LIMIT: Bytes = ByteSize(2**30)
    """The largest file that can be uploaded or saved; 413 beyond."""
    FILES_PER_USER: Bytes = ByteSize(10 * 2**30)
    """What is kept of a user's files, inputs and outputs; 507 beyond."""
    FILE_COUNT_PER_USER: Annotated[int, Field(ge=1, lt=2**31)] = 100_000
    """How many files of a user are kept; 507 beyond."""
    FILES_DIRECT: bool = False
    """Clients reach the S3 with the files: they upload and download there, past the web."""
    SHOW_TRACEBACKS: bool = False
    """Owners see the traceback of a failed attempt; staff always do; the log has its frames."""
    ENCRYPTION_KEYS: list[EncryptionKey] = Field([], repr=False)
    """Keys for the secrets in inputs: the first encrypts, all decrypt. Our own project makes one in
    TASKYARD_HOME if the database is there too."""
    RETENTION_DAYS: Annotated[int, Field(ge=1, le=36_500)] | None = None
    """Finished tasks are deleted after so many days; by default never."""
    AUDIT_DAYS: Annotated[int, Field(ge=1, le=36_500)] = 365
    """Entries of the audit log are deleted after so many days."""
    VIEWERS_SEE_DATA: bool = False
    """Staff viewers see inputs, results, errors, logs and names of files; operators always do."""
    LEASE_SECONDS: Annotated[float, Field(ge=2, le=3600)] = 10
    """A worker that is silent for so long is believed dead, and its tasks run again."""
    DRAIN_SECONDS: Seconds = 25
    """How long a worker that is stopped lets its tasks run on; then it hands them back."""
    CANCEL_GRACE_SECONDS: Seconds = 10
    """How long a running task may take to stop when it is cancelled; then its process is killed."""
    MAX_TASKS_PER_CHILD: Annotated[int, Field(ge=0, lt=10**9)] = 0
    """A worker process is replaced after so many tasks; 0: never."""
    MAX_MEMORY_PER_CHILD: Annotated[int, Field(ge=0, lt=10**9)] | None = None
    """A worker process that has more KiB in memory is replaced before its next task; 0: never. By
    default three quarters of the memory, divided among the processes."""
    TRUSTED_PROXIES: Annotated[int, Field(ge=0, le=16)] = 0
    """How many proxies in front append to X-Forwarded-For."""
    REGISTRATION: Literal["open", "invite", "closed"] = "open"
    """Users who may register: all, those with an invitation, or none (staff add them)."""
    REGISTER_RATE: Rate = "30/hour"
    """Registrations per address."""
    LOGIN_RATE: Rate = "10/min"
    """Failed logins per name and address."""
    ATTEMPT_RATE: Rate = None
    """Logins and password changes per address, right or wrong; by default 20 times LOGIN_RATE."""
    EMAIL_FROM: Annotated[str, AfterValidator(_sender)] | None = None
    """The sender of mails, such as `Taskyard <tasks@example.org>`; without it no mail is sent."""
    EMAIL_RATE: Rate = "10/hour"
    """Mails that clients ask for (reset, confirmation), per recipient and per address."""
    PUBLIC_URL: Annotated[str, AfterValidator(_public_url)] | None = None
    """Where people reach the pages, such as `https://tasks.example.org`: links in mails begin so,
    because the host that a request names can be forged."""
    ACCESS_MINUTES: Annotated[int, Field(ge=1, le=1440)] = 60
    """How long an access token is valid."""
    REFRESH_DAYS: Annotated[int, Field(ge=1, le=365)] = 7
    """How long a refresh token is valid."""
    SUBJECTS_PER_ACCOUNT: Annotated[int, Field(ge=1, lt=2**31)] = 1_000_000
    """Subjects on whose behalf a service account submits; 409 beyond."""
    ROTATE_REFRESH: bool = False
    """A refresh gives a new refresh token and ends the old one."""
    ROTATE_GRACE_SECONDS: Annotated[int, Field(ge=0, le=600)] = 10
    """How long a refresh token that was rotated still gives the same pair, if that is unused."""


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
