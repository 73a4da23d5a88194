"""Sockets that share a port: the kernel spreads connections over those that listen."""

import socket


def bound_socket(port: int) -> socket.socket:
    """Bound to the port of this machine, or to a free one; not listening yet."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made
