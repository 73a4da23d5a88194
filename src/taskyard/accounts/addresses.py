"""The IP address that a request comes from, for rate limits."""

from ipaddress import ip_address, ip_network

from django.http import HttpRequest

from taskyard.core.conf import conf

UNKNOWN = "unknown"
# Enough for an IPv6 address with a zone, a port, brackets and quotation marks.
LONGEST = 100


def client_ip(request: HttpRequest) -> str:
    """The client's IPv4 address or IPv6 network of 64 bits, or "unknown"."""
    meta = request.META
    return client_ip_of(
        str(meta.get("REMOTE_ADDR", "")),
        forwarded_for=meta.get("HTTP_X_FORWARDED_FOR", ""),
        forwarded=meta.get("HTTP_FORWARDED", ""),
    )


def client_ip_of(peer: str, *, forwarded_for: str, forwarded: str) -> str:
    """The same, from the peer of a connection and the values of its headers.

    ``X-Forwarded-For``, or else ``Forwarded`` (RFC 7239), counts only if TASKYARD_TRUSTED_PROXIES
    says how many proxies append to it. The client itself can write all entries before those.
    """
    if conf().TRUSTED_PROXIES and forwarded_for:
        return normalize_ip(trusted_entry(forwarded_for))
    if conf().TRUSTED_PROXIES and forwarded:
        return normalize_ip(forwarded_parameters(forwarded).get("for", ""))
    return normalize_ip(peer)


def trusted_entry(value: str) -> str:
    """The entry of a header that the first trusted proxy appended."""
    proxies: int = conf().TRUSTED_PROXIES
    return value.rsplit(",", proxies)[-proxies:][0].strip()


def forwarded_parameters(value: str) -> dict[str, str]:
    """The parameters that the first trusted proxy wrote into Forwarded."""
    pairs = (pair.partition("=") for pair in trusted_entry(value).split(";"))
    return {name.strip().lower(): text.strip().strip('"') for name, _, text in pairs}


def normalize_ip(text: str) -> str:
    """The address or network that rate limits count, without its port, brackets or zone."""
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
