"""The certificates that a connection trusts, and whether it may use a proxy."""

import ipaddress
import ssl

import httpx


def create_ssl_context(url: str) -> bool | ssl.SSLContext:
    """The ``verify`` argument of httpx: True for https, else a context without certificates.

    Loading the certificates takes 0.1 s, which plain HTTP does not need. The empty context
    refuses every TLS connection.
    """
    return url.lower().startswith("https:") or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def is_loopback(url: str) -> bool:
    """Whether the URL names this machine; a proxy cannot reach it. Raises httpx.InvalidURL."""
    host = httpx.URL(url).host
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
