"""The same project as a live system: tests choose keys of ``TASKYARD`` and read its log."""

import os
from collections.abc import Callable
from typing import Any

from tests.host_project.settings import *  # noqa: F403
from tests.host_project.settings import TASKYARD as _KEYS


def _names(text: str) -> list[str]:
    return text.split(",") if text else []


_READ: dict[str, Callable[[str], Any]] = {
    "ACTIVE_LIMIT": int,
    "CANCEL_GRACE_SECONDS": float,
    "DRAIN_SECONDS": float,
    "LEASE_SECONDS": float,
    "QUEUES": _names,
    "TASK_TYPES": _names,
}
TASKYARD = _KEYS | {
    key: read(os.environ[f"TASKYARD_{key}"])
    for key, read in _READ.items()
    if f"TASKYARD_{key}" in os.environ
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": '{"event":"%(message)s","pid":%(process)d,%(name)s}'}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
