"""Encrypt the secrets of inputs, and show dots in their place.

The keys are in the setting ``ENCRYPTION_KEYS``: the first encrypts, all decrypt. A secret is stored
as an envelope, a text in place of its own: ``taskyard-secret:1:<key>:<data>``. ``key`` is the
beginning of the key's SHA-256, ``data`` is Base64 (URL-safe, without padding) of a random nonce of
12 bytes and the AES-256-GCM ciphertext with its tag. The name of the task type and the JSON pointer
of the secret are authenticated with it, so that an envelope is of no use at another place. The id
of the task is not, because a retry copies the input.
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

from django.core.signals import setting_changed

from taskyard.catalog.places import Path
from taskyard.catalog.schema import json_pointer
from taskyard.catalog.secrets import DOTS, without
from taskyard.catalog.task_type import TaskType, UnknownTaskType, registry
from taskyard.core.conf import conf
from taskyard.core.errors import EncryptionUnavailable, SecretUnreadable
from taskyard.core.types import NewTask

PREFIX = "taskyard-secret:1:"
ENVELOPE = re.compile(rf"{PREFIX}([0-9a-f]{{8}}):([A-Za-z0-9_-]+)")
NONCE_BYTES = 12


class Key(NamedTuple):
    """A key of the ring, with its id in envelopes."""

    id: str
    secret: bytes


class Opened(NamedTuple):
    """An input with its secrets in clear, as JSON text; and the secrets."""

    text: str
    secrets: list[str]


@cache
def is_installed() -> bool:
    """Whether the package that encrypts is there: the extra ``taskyard[secrets]``."""
    return find_spec("cryptography") is not None


def fault() -> str | None:
    """Why the secrets of the registered task types cannot be encrypted; None if they can."""
    if not registry.with_secrets or (keys() and is_installed()):
        return None
    names = ", ".join(sorted(registry.with_secrets))
    if not is_installed():
        return f"Task types have secrets, but the extra taskyard[secrets] is not installed: {names}"
    return f"Task types have secrets, but there is no key to encrypt them with: {names}"


@cache
def keys() -> tuple[Key, ...]:
    """The keys of the setting, in its order."""
    return tuple(_key(base64.urlsafe_b64decode(text + "==")) for text in conf().ENCRYPTION_KEYS)


def seal(task_type: TaskType, data: dict[str, Any]) -> dict[str, Any]:
    """Encrypt the secrets of a checked input. Raises EncryptionUnavailable."""
    if task_type.secrets is None:
        return data
    sealed: dict[str, Any] = task_type.secrets.replace(data, _encrypting(task_type.name))
    return sealed


def open_input(task_type: TaskType, text: str) -> Opened:
    """Decrypt the secrets of a stored input. Raises SecretUnreadable.

    A text that is no envelope was stored before its type had the secret, and is taken as it is.
    """
    places = task_type.secrets
    if places is None:
        return Opened(text, [])
    found: list[str] = []

    def decrypt(stored: str, path: Path) -> str:
        found.append(_decrypted(task_type.name, stored, path))
        return found[-1]

    return Opened(json.dumps(places.replace(json.loads(text), decrypt)), found)


def shown(task_type: str, data: Any) -> Any:
    """A stored input with dots in place of its secrets."""
    if task_type in registry.without_secrets:
        return data
    return _hidden(_replaced(task_type, data, lambda text, path: DOTS))


def shown_text(task_type: str, text: str) -> str:
    """The same for JSON text, which may be cut at its end; numbers stay as they are written."""
    if task_type in registry.without_secrets:
        return text
    try:
        places = registry.get(task_type).secrets
        if places is not None:
            text = places.rewrite(text, lambda secret, path: DOTS)
    except (UnknownTaskType, ValueError):  # of a cut text only the envelopes are found
        pass
    return ENVELOPE.sub(DOTS, text)


def to_complete(task_type: TaskType, data: Any) -> Any:
    """A stored input without its secrets, for a form in which they are entered again."""
    return data if task_type.secrets is None else without(data, task_type.secrets)


def are_in(new: Iterable[NewTask]) -> bool:
    """Whether an input of these tasks has secrets, or is not kept."""
    names = registry.with_secrets | registry.forgetful
    return bool(names) and any(task.task_type in names for task in new)


def encrypted(task_type: str, text: str, path: Path) -> str:
    """An envelope for a secret. Raises EncryptionUnavailable."""
    if not (keys() and is_installed()):
        raise EncryptionUnavailable
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key, nonce = keys()[0], os.urandom(NONCE_BYTES)
    sealed = AESGCM(key.secret).encrypt(nonce, text.encode(), _place(task_type, path))
    data = base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")
    return f"{PREFIX}{key.id}:{data}"


def decrypted(task_type: str, envelope: str, path: Path) -> str:
    """The secret in an envelope. Raises SecretUnreadable."""
    match = ENVELOPE.fullmatch(envelope)
    if match is None or not is_installed():
        raise SecretUnreadable(key=match[1] if match else "")
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    for key in keys():
        if key.id == match[1]:
            try:
                data = base64.urlsafe_b64decode(match[2] + "==")
                nonce, sealed = data[:NONCE_BYTES], data[NONCE_BYTES:]
                return AESGCM(key.secret).decrypt(nonce, sealed, _place(task_type, path)).decode()
            except (InvalidTag, ValueError):  # also Base64 that is none, and a text that is short
                break
    raise SecretUnreadable(key=match[1])


def _key(secret: bytes) -> Key:
    return Key(hashlib.sha256(b"taskyard key\0" + secret).hexdigest()[:8], secret)


def _place(task_type: str, path: Path) -> bytes:
    return f"{task_type}\0{json_pointer(path)}".encode()


def _encrypting(task_type: str) -> Callable[[str, Path], str]:
    return lambda text, path: encrypted(task_type, text, path)


def _decrypted(task_type: str, stored: str, path: Path) -> str:
    if stored == DOTS:  # of an export, which has no secrets
        raise SecretUnreadable(key="")
    return decrypted(task_type, stored, path) if stored.startswith(PREFIX) else stored


def _replaced(task_type: str, data: Any, change: Callable[[str, Path], Any]) -> Any:
    try:
        places = registry.get(task_type).secrets
    except UnknownTaskType:
        return data
    return data if places is None else places.replace(data, change)


def _hidden(value: Any) -> Any:
    """The value with dots in place of all envelopes, also where its type has none any more."""
    if isinstance(value, str):
        return DOTS if ENVELOPE.fullmatch(value) else value
    if isinstance(value, dict):
        return {name: _hidden(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_hidden(inner) for inner in value]
    return value


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "TASKYARD":
        keys.cache_clear()


# Tests change settings.
setting_changed.connect(_forget)
