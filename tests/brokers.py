"""Brokers as operators run them: behind TLS, and a primary and a replica with a sentinel."""

import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import redis

from taskyard.server import child_process
from taskyard.server.valkey import program
from tests.servers import free_port

PASSWORD = "a/broker@password"
QUOTED = "a%2Fbroker%40password"


@contextmanager
def behind_tls(url: str, directory: Path) -> Iterator[tuple[str, Path]]:
    """The address of a TLS server in front of that Redis, and the certificate to trust."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *(
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
                "-keyout",
                key,
                "-out",
                certificate,
            ),
            *("-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    parts = urlsplit(url)
    front = _Front(parts.hostname or "", parts.port or 0, context)
    front.start()
    front.started.wait()
    try:
        yield f"rediss://:{parts.password}@localhost:{front.port}/0", certificate
    finally:
        front.stop()


class _Front(threading.Thread):
    """Decrypt a connection and forward it."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(daemon=True)
        self.port = free_port()
        self.started = threading.Event()
        self._to, self._context = (host, port), context

    def run(self) -> None:
        asyncio.run(self._serve())

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self.join()

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(
            self._pass_on, "127.0.0.1", self.port, ssl=self._context
        )
        self.started.set()
        await self._stopping.wait()
        server.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to = await asyncio.open_connection(*self._to)
        try:
            await asyncio.gather(_pipe(reader, to), _pipe(there, writer))
        finally:
            for each in (to, writer):
                each.transport.abort()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


class Watched:
    """A primary and its replica on free ports, and the sentinel that watches them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self._primary, self._replica, self._sentinel = free_port(), free_port(), free_port()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self.url = f"sentinel://:{QUOTED}@127.0.0.1:{self._sentinel}/0?master_name=main"

    def __enter__(self) -> "Watched":
        of = f"requirepass {PASSWORD}\nmasterauth {PASSWORD}\n"
        self._start(self._primary, of)
        self._start(self._replica, f"{of}replicaof 127.0.0.1 {self._primary}\n")
        self._start(
            self._sentinel,
            f"sentinel monitor main 127.0.0.1 {self._primary} 1\n"
            f"sentinel auth-pass main {PASSWORD}\n"
            "sentinel down-after-milliseconds main 1000\n"
            "sentinel failover-timeout main 5000\n",
            "--sentinel",
        )
        with redis.Redis(port=self._sentinel, decode_responses=True) as client:
            self._wait(lambda: len(client.sentinel_slaves("main")) == 1)
            self._wait(lambda: client.sentinel_slaves("main")[0]["master-link-status"] == "ok")
        return self

    def __exit__(self, *error: object) -> None:
        child_process.stop(list(self._processes.values()), seconds=5)

    def kill_the_primary(self) -> None:
        self._processes[self._primary].send_signal(signal.SIGKILL)

    def _start(self, port: int, configuration: str, *options: str) -> None:
        home = self._directory / str(port)
        home.mkdir(parents=True)
        file = home / "valkey.conf"
        file.write_text(
            f'bind 127.0.0.1\nport {port}\ndir "{home}"\nsave ""\nlogfile "{home}/log"\n'
            + configuration
        )
        self._processes[port] = child_process.start(
            [program(), str(file), *options], env=dict(os.environ), death_signal=signal.SIGKILL
        )

    def _wait(self, until: object) -> None:
        assert callable(until)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(redis.RedisError, KeyError):
                if until():
                    return
            time.sleep(0.1)
        raise AssertionError("the sentinel does not see them")
