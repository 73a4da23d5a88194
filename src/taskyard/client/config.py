"""The login of the command line: `$XDG_CONFIG_HOME/taskyard/login.json`, for the owner alone."""

import fcntl
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from taskyard.client.tokens import Tokens


@dataclass(frozen=True)
class Login:
    """Where somebody has logged in, and with which tokens."""

    url: str
    tokens: Tokens


def folder() -> Path:
    """Where the configuration lies."""
    given = os.environ.get("XDG_CONFIG_HOME")
    return (Path(given) if given else Path.home() / ".config") / "taskyard"


def read() -> Login | None:
    """The saved login; None where there is none that can be read."""
    try:
        saved = json.loads((folder() / "login.json").read_text())
        found = saved["url"], saved["access"], saved["refresh"]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, RecursionError):
        return None
    if not all(isinstance(each, str) for each in found[:2]) or not isinstance(found[2], str | None):
        return None
    return Login(found[0], Tokens(found[1], found[2]))


def running_here() -> str | None:
    """Where the `taskyard up` of this folder, or of TASKYARD_HOME, answers; None if none runs."""
    try:
        home = Path(os.environ.get("TASKYARD_HOME") or ".taskyard").expanduser()
        return (home / "web-url").read_text().strip() or None
    except (OSError, ValueError, RuntimeError):
        return None


def write(login: Login | None) -> None:
    """Save a login in place of the one before, or forget it."""
    path = folder() / "login.json"
    if login is None:
        path.unlink(missing_ok=True)
        return
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    # Complete or not at all, and 0600 from the beginning: mkstemp makes it so.
    number, name = tempfile.mkstemp(dir=folder(), prefix="login-")
    tokens = login.tokens
    saved = {"url": login.url, "access": tokens.access, "refresh": tokens.refresh}
    try:
        with os.fdopen(number, "w") as file:
            json.dump(saved, file)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class FileTokens:
    """The saved login's tokens, for its own server only. Several commands may run at once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock: int | None = None

    def load(self) -> Tokens | None:
        login = read()
        return login.tokens if login is not None and login.url == self._url else None

    def save(self, tokens: Tokens | None) -> None:
        if tokens is not None:
            write(Login(self._url, tokens))
        elif self.load() is not None:
            write(None)

    def try_lock(self) -> bool:
        folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder() / "login.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None
