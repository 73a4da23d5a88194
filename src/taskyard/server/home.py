"""TASKYARD_HOME: the private directory of an embedded installation."""

import os
import secrets
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
    path = home / "secret-key"
    if not make and not home.exists():
        return secrets.token_urlsafe(48)
    if not path.exists():
        prepare(home)
        draft = home / f".secret-key.{os.getpid()}"
        write_private(draft, secrets.token_urlsafe(48))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process has created the key at the same time
        finally:
            draft.unlink()
    return _read(path)


def broker_url(home: Path) -> str | None:
    """The URL of the embedded broker of `taskyard up`, or None if none runs."""
    path = home / "broker-url"
    return _read(path) if path.exists() else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ConfigurationError(f"{path.name} in TASKYARD_HOME cannot be read: {error}") from None
