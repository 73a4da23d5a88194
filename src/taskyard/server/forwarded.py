"""Host, port and scheme as the client sees them, from the headers of trusted proxies."""

import re
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from taskyard.accounts.addresses import forwarded_parameters, trusted_entry

DEFAULT_PORTS = {"http": "80", "https": "443"}
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


class Forwarded:
    """Middleware that applies X-Forwarded-Proto, -Host and -Port, or Forwarded (RFC 7239).

    It is installed only if TASKYARD_TRUSTED_PROXIES is set. The host must still be an allowed one.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        meta = request.META
        forwarded = forwarded_parameters(meta.get("HTTP_FORWARDED", ""))
        scheme = trusted_entry(meta.get("HTTP_X_FORWARDED_PROTO", "")).lower()
        scheme = scheme or forwarded.get("proto", "")
        if scheme in DEFAULT_PORTS:
            meta["wsgi.url_scheme"] = scheme
        host = trusted_entry(meta.get("HTTP_X_FORWARDED_HOST", "")) or forwarded.get("host", "")
        if host := host or meta.get("HTTP_HOST", ""):
            meta["HTTP_HOST"] = _with_port(host, meta)
        return self.get_response(request)


def _with_port(host: str, meta: dict[str, Any]) -> str:
    port = trusted_entry(meta.get("HTTP_X_FORWARDED_PORT", ""))
    has_port = ":" in host.rpartition("]")[2]
    if has_port or not _PORT.fullmatch(port) or port == DEFAULT_PORTS[meta["wsgi.url_scheme"]]:
        return host
    return f"{host}:{port}"
