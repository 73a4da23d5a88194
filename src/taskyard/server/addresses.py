"""Which hosts are this machine."""

import ipaddress


def is_local(host: str) -> bool:
    """Whether a host name or address is that of this machine."""
    bare = host.strip("[]")
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False
