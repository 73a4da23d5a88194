"""A TCP proxy that cuts connections in the middle of a body."""

import socket
import struct
import threading
from contextlib import suppress
from typing import Any, Self
from urllib.parse import urlsplit

CHUNK = 65536
# Close with RST, as a network that breaks does.
ABORT = struct.pack("ii", 1, 0)


class CuttingProxy:
    """`with CuttingProxy(live.url) as proxy`: serves at ``proxy.url``.

    ``proxy.cut_after(…)`` takes numbers of bytes: when a connection has carried so many in one
    direction from then on, it is cut, and the next number counts. ``proxy.count`` is how often that
    has happened.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._cuts: list[int] = []
        self._orders = 0
        self.count = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._listener.close()

    def cut_after(self, *cuts: int) -> None:
        with self._lock:
            self._cuts = [*cuts]
            self._orders += 1

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        carried = order = 0
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if order != self._orders:
                    order, carried = self._orders, 0
                carried += len(data)
                if self._is_cut(carried):
                    for end in (source, target):
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
                        end.shutdown(socket.SHUT_RDWR)
                    break
                target.sendall(data)
        for end in (source, target):
            end.close()

    def _is_cut(self, carried: int) -> bool:
        with self._lock:
            if not self._cuts or carried < self._cuts[0]:
                return False
            self._cuts.pop(0)
            self.count += 1
            return True
