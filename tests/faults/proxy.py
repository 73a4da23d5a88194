"""A TCP proxy between Taskyard and Redis or PostgreSQL that injects network faults."""

import socket
import struct
import threading
import time
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

CHUNK = 65536
# Closed with RST instead of FIN.
ABRUPTLY = struct.pack("ii", 1, 0)


class Mode(Enum):
    PASS = "pass"
    REFUSE = "refuse"  # the port is closed, and open connections are reset
    BLACK_HOLE = "black hole"  # connections are accepted, no data arrives until the mode changes
    DELAY = "delay"  # every chunk is delayed
    RESET = "reset"  # new connections are reset
    HALF_OPEN = "half-open"  # the server's side is closed, and the client is not notified


class Proxy:
    """`with Proxy(url) as proxy`: ``proxy.url`` leads to the same server, ``become`` breaks it."""

    def __init__(self, url: str, *, delay_seconds: float = 0.1) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self._target = (parts.hostname, parts.port)
        self._delay_seconds = delay_seconds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        login = parts.netloc.rpartition("@")[0]
        at = f"{login}@" if login else ""
        self.url = parts._replace(netloc=f"{at}127.0.0.1:{self.port}").geturl()
        self.mode = Mode.PASS
        self._changed = threading.Condition()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._closed = False

    def __enter__(self) -> Self:
        self._accept_from(self._listener)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed = True
        self.become(Mode.REFUSE)

    def lead_to(self, url: str) -> None:
        """New connections go to another server; open ones stay."""
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self._target = (parts.hostname, parts.port)

    def become(self, mode: Mode) -> None:
        """Change the mode, also for open connections."""
        with self._changed:
            before, self.mode = self.mode, mode
            if mode in (Mode.REFUSE, Mode.RESET):
                while self._pairs:
                    for end in self._pairs.pop():
                        _throw_out(end)
            if mode is Mode.HALF_OPEN:
                while self._pairs:
                    _throw_out(self._pairs.pop()[1])
            if mode is Mode.REFUSE:
                with suppress(OSError):
                    self._listener.shutdown(socket.SHUT_RDWR)
                self._listener.close()
            elif before is Mode.REFUSE:
                self._listener = socket.create_server(("127.0.0.1", self.port))
                self._accept_from(self._listener)
            self._changed.notify_all()

    def _accept_from(self, listener: socket.socket) -> None:
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            if self.mode in (Mode.RESET, Mode.REFUSE):
                _throw_out(near)
                continue
            threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        self._wait_while_nothing_arrives()
        try:
            far = socket.create_connection(self._target, timeout=5)
        except OSError:
            _throw_out(near)
            return
        far.settimeout(None)
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = (near, far)
        with self._changed:
            self._pairs.append(pair)
        threading.Thread(target=self._carry, args=(near, far, pair), daemon=True).start()
        self._carry(far, near, pair)

    def _carry(
        self, source: socket.socket, sink: socket.socket, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        while True:
            try:
                piece = source.recv(CHUNK)
                self._wait_while_nothing_arrives()
                if self.mode is Mode.DELAY:
                    time.sleep(self._delay_seconds)
                if piece:
                    sink.sendall(piece)
                    continue
            except OSError:
                piece = b""
            with self._changed:
                if pair not in self._pairs:
                    # Reset, or half-open: then the client goes on sending.
                    if source is pair[0]:
                        self._swallow(source)
                    return
                self._pairs.remove(pair)
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
            return

    def _swallow(self, near: socket.socket) -> None:
        def go_on() -> None:
            with suppress(OSError):
                while near.recv(CHUNK):
                    pass
                near.close()

        threading.Thread(target=go_on, daemon=True).start()

    def _wait_while_nothing_arrives(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.mode is not Mode.BLACK_HOLE)


def _throw_out(end: socket.socket) -> None:
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABRUPTLY)
        # Wakes a thread that reads from it; the close then sends RST.
        end.shutdown(socket.SHUT_RD)
    end.close()
