"""The bare view served as Taskyard is: two processes on one port, `... uvicorns PORT`."""

import os
import signal
import sys

import uvicorn

from benchmarks.sockets import bound_socket
from taskyard.server import child_process

PROCESSES = 2


def serve(port: int) -> None:
    server = uvicorn.Server(
        uvicorn.Config(
            "benchmarks.peers.ordinary.asgi:application",
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            server_header=False,
            log_level="warning",
            backlog=8192,
        )
    )
    server.run(sockets=[bound_socket(port)])


def main(port: int) -> None:
    parent = os.getpid()
    for _ in range(PROCESSES - 1):
        if not os.fork():
            child_process.die_with_parent(parent, signal.SIGKILL)()
            break
    serve(port)


if __name__ == "__main__":
    main(int(sys.argv[1]))
