"""TASKYARD_HOME: the private directory of an embedded installation."""

import base64
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from taskyard.server.env import ConfigurationError


def prepare(home: Path) -> None:
    """Create the directory, for its owner only. Raises ConfigurationError."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if home.stat().st_uid == os.getuid():
            home.chmod(0o700)
    except OSError as error:
        raise ConfigurationError(f"TASKYARD_HOME cannot be used: {error}") from None


def write_private(path: Path, content: str) -> None:
    """Replace a file atomically by one that only its owner may read."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    draft.replace(path)


def secret_key(home: Path, *, make: bool) -> str:
    """The generated signing key; the first process creates it. Raises ConfigurationError.

    Without ``make`` the directory is not created, and if it is missing the key is for this process
    only: a command that runs in another directory must not leave one there.
    """
    if not make and not home.exists():
        return secrets.token_urlsafe(48)
    return _made_once(home, "secret-key", lambda: secrets.token_urlsafe(48))


def encryption_keys(home: Path, *, make: bool) -> list[str]:
    """The generated keys for the secrets in inputs; like ``secret_key``.

    The file may have several, separated by commas. Raises ConfigurationError.
    """
    if not make and not home.exists():
        return [new_encryption_key()]
    text = _made_once(home, "encryption-key", new_encryption_key)
    return [key for part in text.split(",") if (key := part.strip())]


def new_encryption_key() -> str:
    """A random key of 256 bits, as TASKYARD_ENCRYPTION_KEYS has it."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _made_once(home: Path, name: str, content: Callable[[], str]) -> str:
    """The text of a file, which the first process writes. Raises ConfigurationError."""
    path = home / name
    try:
        if not path.exists():
            prepare(home)
            _write_once(path, content())
    except OSError as error:
        raise ConfigurationError(f"{name} in TASKYARD_HOME cannot be written: {error}") from None
    return _read(path)


def _write_once(path: Path, content: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    write_private(draft, content)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another process has created it at the same time
    finally:
        draft.unlink()


def broker_url(home: Path) -> str | None:
    """The URL of the embedded broker of `taskyard up`, or None if none runs."""
    path = home / "broker-url"
    return _read(path) if path.exists() else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ConfigurationError(f"{path.name} in TASKYARD_HOME cannot be read: {error}") from None
