"""Sockets that share a port; the kernel distributes connections among those that listen."""

import socket


def bound_socket(port: int) -> socket.socket:
    """A socket bound to this port of the machine, or to a free one; it does not listen yet."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made
