"""Which certificates a connection believes."""

import ssl


def trusted_by(url: str) -> bool | ssl.SSLContext:
    """httpx's own for https. Without TLS none, for to load them takes a tenth of a second.

    None means none: should such a client ever meet TLS, it refuses.
    """
    return url.lower().startswith("https:") or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
