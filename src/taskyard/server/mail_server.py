"""TASKYARD_EMAIL_URL: turn it into Django's settings of mail."""

from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import django

from taskyard.server.addresses import is_local

TIMEOUT_SECONDS = 10
BACKENDS = "django.core.mail.backends"
# Options of Django's backends, and what Django before 6.1 calls them.
OLD_NAMES = {
    "host": "EMAIL_HOST",
    "port": "EMAIL_PORT",
    "username": "EMAIL_HOST_USER",
    "password": "EMAIL_HOST_PASSWORD",
    "use_tls": "EMAIL_USE_TLS",
    "use_ssl": "EMAIL_USE_SSL",
    "timeout": "EMAIL_TIMEOUT",
    "file_path": "EMAIL_FILE_PATH",
}


def check(url: str) -> str:
    """The same address. Raises ValueError; the message never repeats it, for its password."""
    _mailer(url)
    return url


def django_settings(url: str) -> dict[str, Any]:
    """The settings of this version of Django."""
    backend, options = _mailer(url)
    if django.VERSION >= (6, 1):
        return {"MAILERS": {"default": {"BACKEND": backend, "OPTIONS": options}}}
    return {"EMAIL_BACKEND": backend, **{OLD_NAMES[name]: options[name] for name in options}}


def _mailer(url: str) -> tuple[str, dict[str, Any]]:
    """The backend and its options."""
    parts = urlsplit(url)
    match parts.scheme:
        case "console" if url == "console://":
            return f"{BACKENDS}.console.EmailBackend", {}
        case "file" if not (parts.netloc or parts.query) and len(parts.path) > 1:
            return f"{BACKENDS}.filebased.EmailBackend", {"file_path": unquote(parts.path)}
        case "smtp" | "smtps" if parts.hostname and parts.path in ("", "/"):
            return f"{BACKENDS}.smtp.EmailBackend", _smtp(parts, parts.hostname)
    raise ValueError(
        "expected smtp://user:password@host:587, smtps://…, file:///folder, console://"
    )


def _smtp(parts: SplitResult, host: str) -> dict[str, Any]:
    is_implicit = parts.scheme == "smtps"
    starttls = not is_implicit and _starttls(parts, default=not is_local(host))
    if parts.password and not (is_implicit or starttls or is_local(host)):
        raise ValueError("a password is sent only with TLS: leave starttls=off out")
    return {
        "host": host,
        "port": _port(parts) or (465 if is_implicit else 587 if starttls else 25),
        "username": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "use_tls": starttls,
        "use_ssl": is_implicit,
        "timeout": TIMEOUT_SECONDS,
    }


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:
        # Python's message repeats it, and without an @ it may be a password.
        raise ValueError("the port is not a number up to 65535") from None


def _starttls(parts: SplitResult, *, default: bool) -> bool:
    given = parse_qs(parts.query, keep_blank_values=True)
    if given.keys() - {"starttls"} or given.get("starttls", ["on"]) not in (["on"], ["off"]):
        raise ValueError("after the ? may be starttls=on or starttls=off")
    return given["starttls"] == ["on"] if given else default
