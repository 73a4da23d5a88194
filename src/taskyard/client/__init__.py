"""The client library: `Client`, and `AsyncClient` with the same methods to await.

    from taskyard.client import Client

    with Client("https://tasks.example.org", token="...") as client:
        task = client.submit("sum", {"numbers": [1, 2, 3]})
        print(client.wait(task.id).result)

It uses only the HTTP API and imports nothing of the server. Each name is imported on first
access, so that the command line starts fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskyard.client._async import AsyncClient
    from taskyard.client._sync import Client
    from taskyard.client.async_files import AsyncEvent, AsyncFile, AsyncFiles, AsyncTask
    from taskyard.client.device import DeviceCode
    from taskyard.client.errors import (
        ActiveLimitExceeded,
        ApiError,
        AuthenticationError,
        Conflict,
        ConnectionFailed,
        FieldError,
        FileInUse,
        FilesLimitExceeded,
        FileTooLarge,
        IdempotencyKeyReused,
        InvalidRequest,
        NotFound,
        RateLimited,
        RequestRejected,
        TaskyardError,
        TransferFailed,
        Unavailable,
        WaitTimeout,
    )
    from taskyard.client.models import (
        ApiKey,
        Attempt,
        Chunk,
        Limits,
        LogLine,
        NewTask,
        Profile,
        Progress,
        SharedLink,
        TaskError,
        TaskType,
    )
    from taskyard.client.sync_files import Event, File, Files, Task
    from taskyard.client.tokens import Issuer, MemoryTokens, Tokens, TokenStore

_MODULES = {
    "_async": ("AsyncClient",),
    "_sync": ("Client",),
    "async_files": ("AsyncEvent", "AsyncFile", "AsyncFiles", "AsyncTask"),
    "sync_files": ("Event", "File", "Files", "Task"),
    "device": ("DeviceCode",),
    "errors": (
        *("ActiveLimitExceeded", "ApiError", "AuthenticationError", "Conflict"),
        *("ConnectionFailed", "FieldError", "FileInUse", "FileTooLarge", "FilesLimitExceeded"),
        *("IdempotencyKeyReused", "InvalidRequest", "NotFound", "RateLimited", "RequestRejected"),
        *("TaskyardError", "TransferFailed", "Unavailable", "WaitTimeout"),
    ),
    "tokens": ("Issuer", "MemoryTokens", "TokenStore", "Tokens"),
    "models": (
        *("ApiKey", "Attempt", "Chunk", "Limits", "LogLine", "NewTask", "Profile", "Progress"),
        "SharedLink",
        *("TaskError", "TaskType"),
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
__all__ = [
    "ActiveLimitExceeded",
    "ApiError",
    "ApiKey",
    "AsyncClient",
    "AsyncEvent",
    "AsyncFile",
    "AsyncFiles",
    "AsyncTask",
    "Attempt",
    "AuthenticationError",
    "Chunk",
    "Client",
    "Conflict",
    "ConnectionFailed",
    "DeviceCode",
    "Event",
    "FieldError",
    "File",
    "FileInUse",
    "FileTooLarge",
    "Files",
    "FilesLimitExceeded",
    "IdempotencyKeyReused",
    "InvalidRequest",
    "Issuer",
    "Limits",
    "LogLine",
    "MemoryTokens",
    "NewTask",
    "NotFound",
    "Profile",
    "Progress",
    "RateLimited",
    "RequestRejected",
    "SharedLink",
    "Task",
    "TaskError",
    "TaskType",
    "TaskyardError",
    "TokenStore",
    "Tokens",
    "TransferFailed",
    "Unavailable",
    "WaitTimeout",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"taskyard.client.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
