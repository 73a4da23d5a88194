"""Taskyard from a program: `Client`, and `AsyncClient` with the same methods to await.

    from taskyard.client import Client

    with Client("https://tasks.example.org", token="...") as yard:
        task = yard.submit("sum", {"numbers": [1, 2, 3]})
        print(yard.wait(task.id).result)

Everything goes over the HTTP API; nothing of the server is imported. Each name is loaded when it
is first asked for, so that the command line starts fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskyard.client.asynchronous import AsyncClient
    from taskyard.client.errors import (
        ActiveLimitExceeded,
        ApiError,
        Conflict,
        FieldError,
        InvalidRequest,
        KeyReused,
        NotFound,
        NotLoggedIn,
        Refused,
        TaskyardError,
        Throttled,
        Unavailable,
        Unreachable,
        WaitedTooLong,
    )
    from taskyard.client.synchronous import Client
    from taskyard.client.tokens import MemoryTokens, Tokens, TokenStore
    from taskyard.client.values import (
        Attempt,
        Chunk,
        Event,
        Failure,
        Limits,
        LogLine,
        NewTask,
        Profile,
        Progress,
        Task,
        TaskType,
    )

_MODULES = {
    "asynchronous": ("AsyncClient",),
    "synchronous": ("Client",),
    "errors": (
        *("ActiveLimitExceeded", "ApiError", "Conflict", "FieldError", "InvalidRequest"),
        *("KeyReused", "NotFound", "NotLoggedIn", "Refused", "TaskyardError", "Throttled"),
        *("Unavailable", "Unreachable", "WaitedTooLong"),
    ),
    "tokens": ("MemoryTokens", "TokenStore", "Tokens"),
    "values": (
        *("Attempt", "Chunk", "Event", "Failure", "Limits", "LogLine", "NewTask", "Profile"),
        *("Progress", "Task", "TaskType"),
    ),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}
__all__ = [
    "ActiveLimitExceeded",
    "ApiError",
    "AsyncClient",
    "Attempt",
    "Chunk",
    "Client",
    "Conflict",
    "Event",
    "Failure",
    "FieldError",
    "InvalidRequest",
    "KeyReused",
    "Limits",
    "LogLine",
    "MemoryTokens",
    "NewTask",
    "NotFound",
    "NotLoggedIn",
    "Profile",
    "Progress",
    "Refused",
    "Task",
    "TaskType",
    "TaskyardError",
    "Throttled",
    "TokenStore",
    "Tokens",
    "Unavailable",
    "Unreachable",
    "WaitedTooLong",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"taskyard.client.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
