"""Whose address a request comes from, as far as can be trusted."""

from ipaddress import ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest

UNKNOWN = "unknown"
# An IPv6 address with a zone, a port, brackets and quotation marks.
LONGEST = 100


def client_ip(request: HttpRequest) -> str:
    """Who asks: an IPv4 address, an IPv6 network of 64 bits, or "unknown"."""
    meta = request.META
    return client_of(
        str(meta.get("REMOTE_ADDR", "")),
        forwarded_for=meta.get("HTTP_X_FORWARDED_FOR", ""),
        forwarded=meta.get("HTTP_FORWARDED", ""),
    )


def client_of(peer: str, *, forwarded_for: str, forwarded: str) -> str:
    """The same, from what a connection and its headers say.

    ``X-Forwarded-For``, or else ``Forwarded`` (RFC 7239), counts only if TASKYARD_TRUSTED_PROXIES
    says how many proxies append to it: the client itself writes what stands further left.
    """
    proxies: int = settings.TASKYARD_TRUSTED_PROXIES
    if proxies and forwarded_for:
        return bucket(forwarded_for.rsplit(",", proxies)[-proxies:][0])
    if proxies and forwarded:
        return bucket(_for(forwarded.rsplit(",", proxies)[-proxies:][0]))
    return bucket(peer)


def bucket(text: str) -> str:
    """What is counted as one: also of an address with a port, in brackets, or with a zone."""
    bare = text.strip().strip('"').strip()
    if len(bare) > LONGEST:
        return UNKNOWN
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return UNKNOWN
    if address.version == 6 and (mapped := address.ipv4_mapped):
        return str(mapped)
    if address.version == 6:
        return str(ip_network((int(address), 64), strict=False))
    return str(address)


def _for(element: str) -> str:
    """The client that an element of Forwarded names."""
    pairs = (pair.partition("=") for pair in element.split(";"))
    return next((value for name, _, value in pairs if name.strip().lower() == "for"), "")
