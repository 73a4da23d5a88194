"""Which certificates a connection believes, and whether it may go through a proxy."""

import ipaddress
import ssl

import httpx


def create_ssl_context(url: str) -> bool | ssl.SSLContext:
    """httpx's own for https. Without TLS none, for to load them takes a tenth of a second.

    None means none: should such a client ever meet TLS, it refuses.
    """
    return url.lower().startswith("https:") or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def is_loopback(url: str) -> bool:
    """Whether the server is this machine, which no proxy can reach. Raises httpx.InvalidURL."""
    host = httpx.URL(url).host
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
