"""A listening port that outlives the web: `python listener.py SOCKET PORT` opens it and gives it to
each web that asks at the Unix socket.

While a web is replaced, connections wait in the port's queue; several webs share the queue. This
file is run by itself in a container (compose.yaml), so it imports nothing of Taskyard.
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
PAUSE_SECONDS = 0.1


def serve(path: Path, port: int) -> None:
    """Open the port and give it away until the process ends."""
    path.unlink(missing_ok=True)
    with socket.create_server(("", port), backlog=BACKLOG) as listener:
        door = socket.socket(socket.AF_UNIX)
        door.bind(str(path))
        door.listen()
        webs: set[socket.socket] = set()
        while True:
            readable, _, _ = select.select([door, *webs], [], [])
            for ready in readable:
                if ready is door:
                    webs.add(_give(door, listener))
                else:  # a web says nothing, so that it has ended
                    webs.discard(ready)
                    ready.close()


def _give(door: socket.socket, listener: socket.socket) -> socket.socket:
    web, _ = door.accept()
    socket.send_fds(web, [b"port"], [listener.fileno()])
    return web


def take(path: Path, *, seconds: float = WAIT_SECONDS) -> socket.socket:
    """The port that the process at the Unix socket opened. Raises OSError if it does not answer.

    If that process ends, its port is closed to the world, so this process is asked to stop.
    """
    deadline = time.monotonic() + seconds
    while True:
        giver = socket.socket(socket.AF_UNIX)
        try:
            giver.connect(str(path))
            _, descriptors, _, _ = socket.recv_fds(giver, 16, 1)
            listener = socket.socket(fileno=descriptors[0])
        except (OSError, IndexError) as error:
            giver.close()
            if time.monotonic() > deadline:
                raise OSError(f"no port is given at {path}") from error
            time.sleep(PAUSE_SECONDS)
        else:
            threading.Thread(target=_stop_after, args=(giver,), daemon=True).start()
            return listener


def _stop_after(giver: socket.socket) -> None:
    giver.recv(1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    # As the first process of a container it has no default handlers.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    serve(Path(sys.argv[1]), int(sys.argv[2]))
