"""The saved login of the command line: `$XDG_CONFIG_HOME/taskyard/login.json`, mode 0600."""

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from taskyard.client.file_lock import try_lock
from taskyard.client.tokens import Issuer, Tokens


@dataclass(frozen=True)
class Login:
    """The server that the user logged in to, and the tokens."""

    url: str
    tokens: Tokens


def config_dir() -> Path:
    config_home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(config_home) if config_home else Path.home() / ".config") / "taskyard"


def load_login() -> Login | None:
    """The saved login; None if the file is missing or invalid."""
    try:
        saved = json.loads((config_dir() / "login.json").read_text())
        url, access, refresh = saved["url"], saved["access"], saved["refresh"]
        issuer = Issuer(**saved["issuer"]) if saved.get("issuer") else None
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, RecursionError):
        return None
    if not (isinstance(url, str) and isinstance(access, str) and isinstance(refresh, str | None)):
        return None
    return Login(url, Tokens(access, refresh, issuer))


def local_server_url() -> str | None:
    """URL of the `taskyard up` that runs in this folder or in TASKYARD_HOME; None if none runs."""
    try:
        home = Path(os.environ.get("TASKYARD_HOME") or ".taskyard").expanduser()
        return (home / "web-url").read_text().strip() or None
    except (OSError, ValueError, RuntimeError):
        return None


def save_login(login: Login | None) -> None:
    """Replace the saved login, or delete it for None."""
    path = config_dir() / "login.json"
    if login is None:
        path.unlink(missing_ok=True)
        return
    config_dir().mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp creates the file with mode 0600; the rename makes the write atomic.
    descriptor, name = tempfile.mkstemp(dir=config_dir(), prefix="login-")
    tokens = login.tokens
    saved: dict[str, Any] = {
        "url": login.url,
        "access": tokens.access,
        "refresh": tokens.refresh,
    }
    if tokens.issuer is not None:
        saved["issuer"] = asdict(tokens.issuer)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(saved, file)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class FileTokens:
    """The tokens of the saved login, given only to the server that issued them.

    Commands that run at once lock a file.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock: int | None = None

    def load(self) -> Tokens | None:
        login = load_login()
        return login.tokens if login is not None and login.url == self._url else None

    def save(self, tokens: Tokens | None) -> None:
        if tokens is not None:
            save_login(Login(self._url, tokens))
        elif self.load() is not None:
            save_login(None)

    def try_lock(self) -> bool:
        config_dir().mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(config_dir() / "login.lock", os.O_RDWR | os.O_CREAT, 0o600)
        if not try_lock(lock):
            os.close(lock)
            return False
        self._lock = lock
        return True

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
        self._lock = None
