"""Keep a port open while web processes are replaced: `python listener.py SOCKET PORT`.

Each web process gets the listening socket through the Unix socket. While no web process runs, new
connections wait in the port's queue; several web processes share the queue. A container runs this
file by itself (compose.yaml), so it imports nothing of Taskyard.
"""

import os
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path

BACKLOG = 8192
WAIT_SECONDS = 30.0
RETRY_SECONDS = 0.1


def serve(path: Path, port: int) -> None:
    """Open the port and send it to each web process that connects, until this process ends."""
    path.unlink(missing_ok=True)
    with socket.create_server(("", port), backlog=BACKLOG) as listener:
        unix_socket = socket.socket(socket.AF_UNIX)
        unix_socket.bind(str(path))
        unix_socket.listen()
        webs: set[socket.socket] = set()
        while True:
            readable, _, _ = select.select([unix_socket, *webs], [], [])
            for ready in readable:
                if ready is unix_socket:
                    webs.add(_send_listener(unix_socket, listener))
                else:  # a web process never writes, so it has ended
                    webs.discard(ready)
                    ready.close()


def _send_listener(unix_socket: socket.socket, listener: socket.socket) -> socket.socket:
    web, _ = unix_socket.accept()
    socket.send_fds(web, [b"port"], [listener.fileno()])
    return web


def take(path: Path, *, seconds: float = WAIT_SECONDS) -> socket.socket:
    """Receive the listening socket. Raises OSError if nothing answers at the Unix socket.

    When the process at the other end ends, this process gets SIGTERM: the port is then no longer
    reachable from outside.
    """
    deadline = time.monotonic() + seconds
    while True:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
            _, descriptors, _, _ = socket.recv_fds(connection, 16, 1)
            listener = socket.socket(fileno=descriptors[0])
        except (OSError, IndexError) as error:
            connection.close()
            if time.monotonic() > deadline:
                raise OSError(f"no process sends a listening socket at {path}") from error
            time.sleep(RETRY_SECONDS)
        else:
            threading.Thread(target=_stop_after, args=(connection,), daemon=True).start()
            return listener


def _stop_after(connection: socket.socket) -> None:
    connection.recv(1)  # returns when the other process ends
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    # The first process of a container has no default signal handlers.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    serve(Path(sys.argv[1]), int(sys.argv[2]))
