"""The environment variables of Taskyard: one table with a parser for each."""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from taskyard.core import redis_url

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")
WELL_KNOWN_KEYS = ("django-insecure", "changeme", "change-me", "secret", "insecure", "password")

# The client reads these; the server ignores them.
CLIENT_NAMES = frozenset({"TASKYARD_URL", "TASKYARD_TOKEN"})

# Names that other Django and Celery projects read, with the name or hint for Taskyard.
FOREIGN_NAMES = {
    "SECRET_KEY": "DJANGO_SECRET_KEY",
    "DEBUG": "DJANGO_DEBUG",
    "ALLOWED_HOSTS": "DJANGO_ALLOWED_HOSTS",
    "CSRF_TRUSTED_ORIGINS": "DJANGO_CSRF_TRUSTED_ORIGINS",
    **dict.fromkeys(
        (
            *(f"POSTGRES_{part}" for part in ("DB", "USER", "PASSWORD", "HOST", "PORT", "NAME")),
            *(f"DB_{part}" for part in ("NAME", "USER", "PASSWORD", "HOST", "PORT", "ENGINE")),
        ),
        "DATABASE_URL",
    ),
    **dict.fromkeys(("REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD"), "REDIS_URL"),
    "CELERY_RESULT_BACKEND": "results are in the database",
}


class ConfigurationError(Exception):
    """Taskyard cannot start with this environment. The message is one line for the operator."""


def text(raw: str) -> str:
    return raw


def boolean(raw: str) -> bool:
    if raw.lower() in ("1", "true", "yes", "on"):
        return True
    if raw.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("expected true or false")


def integer(least: int, most: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,9}", raw) or not least <= int(raw) <= most:
            raise ValueError(f"expected a whole number from {least} to {most}")
        return int(raw)

    return parse


def words(raw: str) -> list[str]:
    return [word for part in raw.split(",") if (word := part.strip())]


def choice(*allowed: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw not in allowed:
            raise ValueError("expected " + " or ".join(allowed))
        return raw

    return parse


def rate(raw: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,8}/(s|sec|m|min|h|hour|d|day)", raw):
        raise ValueError("expected a rate like 30/hour")
    return raw


def address(*schemes: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        # The value may contain a password, so the message never repeats it.
        scheme = urlsplit(raw).scheme
        if scheme not in schemes or len(raw) <= len(scheme) + 3:
            raise ValueError("expected an address like " + ", ".join(f"{s}://…" for s in schemes))
        return raw

    return parse


UNITS = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def size(raw: str) -> int:
    parts = re.fullmatch(r"([0-9]{1,15}) *([KMGT]iB|B|)", raw)
    if not parts or not 0 < (bytes_ := int(parts[1]) * UNITS[parts[2]]) < 2**62:
        raise ValueError("expected a size like 500 MiB or 10 GiB")
    return bytes_


def broker(raw: str) -> str:
    redis_url.parse(raw)
    return raw


def modules(raw: str) -> list[str]:
    names = words(raw)
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ValueError("expected names of Python modules, separated by commas")
    return names


def base_path(raw: str) -> str:
    """The path without its last slash; "" means the root."""
    path = raw.rstrip("/")
    if path and not re.fullmatch(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+", path):
        raise ValueError("expected a path like /jobs")
    if path.partition("/")[2].partition("/")[0] in ("api", "admin", "static"):
        raise ValueError(f"{path} would be taken for an address of Taskyard's own")
    return path


def bearer(raw: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{16,512}", raw):
        raise ValueError("expected 16 or more letters, digits or signs, without spaces")
    return raw


def origins(raw: str) -> list[str]:
    names = words(raw)
    if not all(origin.startswith(("http://", "https://")) for origin in names):
        raise ValueError("expected origins like https://tasks.example.org, separated by commas")
    return names


def cors_origins(raw: str) -> list[str]:
    names = words(raw)
    for origin in names:
        parts = urlsplit(origin)
        # A browser's Origin header has scheme, host and port only.
        bare = f"{parts.scheme}://{parts.netloc}"
        if origin != "*" and (
            origin != bare or parts.scheme not in ("http", "https") or "*" in origin
        ):
            raise ValueError("expected origins like https://app.example.org, without a path, or *")
    return names


@dataclass(frozen=True)
class Variable:
    """One environment variable. `shown` is the text for `default` in the documentation.

    `parse` raises ValueError. With `may_be_file`, `NAME_FILE` can name a file with the value.
    """

    name: str
    parse: Callable[[str], Any]
    default: Any
    meaning: str
    shown: str = ""
    may_be_file: bool = False


def _cores() -> int:
    # A container may use fewer cores than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


POSTGRES_SCHEMES = ("postgres", "postgresql")

VARIABLES: tuple[Variable, ...] = (
    Variable("HOST", text, "127.0.0.1", "Address the web listens on."),
    Variable("PORT", integer(0, 65535), 8000, "Port the web listens on."),
    Variable(
        "TASKYARD_HOME",
        lambda raw: Path(raw).expanduser().absolute(),
        Path(".taskyard").absolute(),
        "Embedded database, broker files and generated secret.",
        shown=".taskyard/",
    ),
    Variable(
        "DATABASE_URL",
        address(*POSTGRES_SCHEMES, "sqlite"),
        None,
        "The database.",
        shown="SQLite in TASKYARD_HOME",
        may_be_file=True,
    ),
    Variable(
        "REDIS_URL",
        broker,
        None,
        "Redis or Valkey, also by its sentinels: Celery's broker, wake-ups, live hints, throttles.",
        shown="embedded Valkey",
        may_be_file=True,
    ),
    Variable(
        "CELERY_BROKER_URL",
        broker,
        None,
        "Another name for REDIS_URL.",
        shown="–",
        may_be_file=True,
    ),
    Variable(
        "DJANGO_SECRET_KEY",
        text,
        None,
        "Signs tokens and sessions; 32 bytes or more.",
        shown="generated in TASKYARD_HOME",
        may_be_file=True,
    ),
    Variable("DJANGO_DEBUG", boolean, False, "Django's debug mode; local only.", may_be_file=True),
    Variable(
        "DJANGO_ALLOWED_HOSTS",
        words,
        list(LOCAL_HOSTS),
        "Host names the web answers to, separated by commas.",
        shown=", ".join(LOCAL_HOSTS),
        may_be_file=True,
    ),
    Variable(
        "DJANGO_CSRF_TRUSTED_ORIGINS",
        origins,
        [],
        "Origins behind a proxy that may post forms, separated by commas.",
        shown="none",
        may_be_file=True,
    ),
    Variable(
        "TASKYARD_CORS_ORIGINS",
        cors_origins,
        [],
        "Origins whose browser applications may use the API, separated by commas; * is any.",
        shown="none",
    ),
    Variable(
        "TASKYARD_HTTPS",
        boolean,
        False,
        "The world reaches the web by HTTPS only: secure cookies, HSTS, redirects.",
    ),
    Variable(
        "TASKYARD_TRUSTED_PROXIES",
        integer(0, 16),
        0,
        "How many proxies in front append to X-Forwarded-For.",
    ),
    Variable(
        "TASKYARD_BASE_PATH",
        base_path,
        "",
        "Path under which a proxy shows Taskyard, such as `/jobs`.",
        shown="none",
    ),
    Variable(
        "TASKYARD_KEEP_ALIVE_SECONDS",
        integer(1, 3600),
        75,
        "How long the web keeps an idle connection; longer than any proxy in front does.",
    ),
    Variable(
        "TASKYARD_METRICS_TOKEN",
        bearer,
        None,
        "A bearer token that may read `/metrics`, and nothing else.",
        shown="none",
        may_be_file=True,
    ),
    Variable(
        "TASKYARD_THREADS",
        integer(1, 256),
        4,
        "Threads that answer ordinary requests; while some wait, up to four times as many, "
        "each with a connection to the database.",
    ),
    Variable(
        "TASKYARD_HASHING_THREADS",
        integer(1, 256),
        max(1, _cores() // 2),
        "Threads that hash passwords: they answer registrations and logins, and nothing else.",
        shown="half of the cores",
    ),
    Variable(
        "TASKYARD_HASHING_QUEUE",
        integer(1, 10_000),
        128,
        "Registrations and logins that wait or are answered, half for one address; more are 503.",
    ),
    Variable(
        "TASKYARD_LONG_REQUESTS",
        integer(1, 256),
        2,
        "Requests with a body above 64 KiB that are worked on at once, one of an address.",
    ),
    Variable(
        "TASKYARD_BODY_BYTES",
        integer(33_554_432, 999_999_999),
        67_108_864,
        "Bytes of bodies above 16 KiB held at once, a quarter for one address; more are 503.",
    ),
    Variable(
        "TASKYARD_FORM_BYTES",
        integer(16_384, 8_388_608),
        1_048_576,
        "Bytes of a form of the page; more are 413.",
    ),
    Variable(
        "TASKYARD_HEADER_BYTES",
        integer(8192, 1_048_576),
        65_536,
        "Bytes of a request's line and headers; more are 431.",
    ),
    Variable(
        "TASKYARD_HEADER_COUNT", integer(32, 10_000), 200, "Headers of a request; more are 431."
    ),
    Variable(
        "TASKYARD_STALL_SECONDS",
        integer(1, 3600),
        30,
        "How long a request's headers may take, and how often the two least rates are looked at.",
    ),
    Variable(
        "TASKYARD_LEAST_RATE",
        integer(1, 1_000_000),
        1024,
        "Bytes a second at which a client must send its body and read its answer.",
    ),
    Variable(
        "TASKYARD_UNREAD_BYTES",
        integer(1_048_576, 999_999_999),
        268_435_456,
        "Bytes of answers kept for clients that read slowly; beyond, the slowest are cut.",
    ),
    Variable(
        "TASKYARD_CONCURRENCY",
        integer(1, 1024),
        _cores(),
        "Worker processes.",
        shown="number of cores",
    ),
    Variable("TASKYARD_QUEUES", words, None, "Queues this worker serves.", shown="all"),
    Variable(
        "TASKYARD_TASK_TYPES",
        modules,
        [],
        "Extra modules with task types, separated by commas.",
        shown="none",
    ),
    Variable("TASKYARD_ACTIVE_LIMIT", integer(1, 1_000_000), 5, "Active tasks per user."),
    Variable(
        "TASKYARD_RETENTION_DAYS",
        integer(1, 36_500),
        None,
        "Purge finished tasks older than this.",
        shown="keep",
    ),
    Variable(
        "TASKYARD_LEASE_SECONDS",
        integer(2, 3600),
        10,
        "A worker silent for so long is believed dead and its tasks run again.",
    ),
    Variable(
        "TASKYARD_DRAIN_SECONDS",
        integer(0, 3600),
        25,
        "How long a worker that is stopped lets its tasks run on; then it hands them back.",
    ),
    Variable(
        "TASKYARD_CANCEL_GRACE_SECONDS",
        integer(0, 3600),
        10,
        "How long a running task may take to stop when cancelled; then its process is ended.",
    ),
    Variable(
        "TASKYARD_SHOW_TRACEBACKS",
        boolean,
        False,
        "Owners see the traceback of a failed attempt; staff always do; the log has its frames.",
    ),
    Variable(
        "TASKYARD_MAX_TASKS_PER_CHILD",
        integer(0, 999_999_999),
        0,
        "A worker process is replaced after so many tasks; 0: never.",
    ),
    Variable(
        "TASKYARD_MAX_MEMORY_PER_CHILD",
        integer(0, 999_999_999),
        None,
        "A worker process that has more KiB in memory is replaced before its next task; 0: never.",
        shown="three quarters of the memory, divided among the processes",
    ),
    Variable(
        "TASKYARD_SUBMIT_RATE", rate, "1000000/hour", "Tasks that a user may submit; 429 beyond."
    ),
    Variable(
        "TASKYARD_BYTES_PER_USER",
        size,
        10 * 2**30,
        "What is kept of a user's tasks: inputs, results, and 1 KiB a task; 507 beyond.",
        shown="10 GiB",
    ),
    Variable("TASKYARD_REGISTER_RATE", rate, "30/hour", "Registrations per address."),
    Variable("TASKYARD_LOGIN_RATE", rate, "10/min", "Failed logins per name and address."),
    Variable(
        "TASKYARD_ATTEMPT_RATE",
        rate,
        None,
        "Logins and password changes per address, right or wrong.",
        shown="20 times TASKYARD_LOGIN_RATE",
    ),
    Variable(
        "TASKYARD_PASSWORD_POLICY",
        choice("basic", "strict"),
        "basic",
        "strict: 12 characters and no common password; basic: 8 characters.",
    ),
    Variable("TASKYARD_ACCESS_MINUTES", integer(1, 1440), 60, "Life of an access token."),
    Variable("TASKYARD_REFRESH_DAYS", integer(1, 365), 7, "Life of a refresh token."),
    Variable(
        "TASKYARD_ROTATE_REFRESH",
        boolean,
        False,
        "A refresh answers with a new refresh token and ends the old one.",
    ),
    Variable(
        "TASKYARD_ROTATE_GRACE_SECONDS",
        integer(0, 600),
        10,
        "How long an ended refresh token still gets the pair that followed it, if that is unused.",
    ),
    Variable(
        "TASKYARD_CLOCK_LEEWAY_SECONDS",
        integer(0, 600),
        10,
        "How far the clocks of webs may differ: a token of so far in the future is accepted.",
    ),
    Variable(
        "TASKYARD_LOG_LEVEL",
        choice("DEBUG", "INFO", "WARNING", "ERROR"),
        "INFO",
        "The least level that is logged.",
    ),
    Variable(
        "TASKYARD_LOG_FORMAT",
        choice("auto", "json", "text"),
        "auto",
        "auto: lines for a person on a terminal, JSON lines anywhere else.",
    ),
    Variable(
        "TASKYARD_LOG_REQUESTS",
        boolean,
        True,
        "The web logs a line for each request, at the level INFO.",
    ),
    Variable(
        "TASKYARD_PROCESS",
        choice("web", "worker", "command"),
        "command",
        "What this process is; set by the taskyard commands themselves.",
    ),
)


def _raw(variable: Variable, environ: Mapping[str, str]) -> str | None:
    """The text of a variable, from itself or from the file that `…_FILE` names, or None."""
    raw = environ.get(variable.name) or None
    path = environ.get(f"{variable.name}_FILE") if variable.may_be_file else None
    if not path:
        return raw
    if raw is not None:
        raise ConfigurationError(f"{variable.name} and {variable.name}_FILE are both set; give one")
    try:
        return Path(path).read_text().strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{variable.name}_FILE cannot be read: {error}") from None


def read(environ: Mapping[str, str]) -> dict[str, Any]:
    """Every variable's value by name. Raises ConfigurationError for a bad name or value."""
    known = {v.name for v in VARIABLES} | {f"{v.name}_FILE" for v in VARIABLES if v.may_be_file}
    for name in environ:
        if name.startswith("TASKYARD_") and name not in known | CLIENT_NAMES:
            raise ConfigurationError(f"{name} is not a setting of Taskyard")
    values: dict[str, Any] = {}
    for variable in VARIABLES:
        raw = _raw(variable, environ)
        try:
            values[variable.name] = variable.default if raw is None else variable.parse(raw)
        except ValueError as error:
            raise ConfigurationError(f"{variable.name}: {error}") from None
    return values


def foreign_names(environ: Mapping[str, str]) -> str | None:
    """A warning that lists the set variables that only other projects read, or None."""
    names = [
        f"{name} ({ours})"
        for name, ours in sorted(FOREIGN_NAMES.items())
        if environ.get(name) and not (environ.get(ours) or environ.get(f"{ours}_FILE"))
    ]
    return f"not read, though set: {', '.join(names)}" if names else None


def refuse_unsafe(values: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for a configuration that must not be reachable by others."""
    hosts: list[str] = values["DJANGO_ALLOWED_HOSTS"]
    if values["DJANGO_DEBUG"]:
        if not is_local(values["HOST"]) or any(not is_local(host) for host in hosts):
            raise ConfigurationError("DJANGO_DEBUG is on with a host that is not local")
    elif any("*" in host for host in hosts):
        raise ConfigurationError("DJANGO_ALLOWED_HOSTS: * admits every host; name yours")
    key: str | None = values["DJANGO_SECRET_KEY"]
    if key is None:
        return
    if len(key.encode()) < 32:
        raise ConfigurationError("DJANGO_SECRET_KEY is shorter than 32 bytes")
    if key.lower().startswith(WELL_KNOWN_KEYS) or len(set(key)) < 8:
        raise ConfigurationError("DJANGO_SECRET_KEY is a well-known default; generate one")


def is_local(host: str) -> bool:
    bare = host.strip("[]")
    if bare == "localhost" or bare.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def markdown() -> str:
    """The variables as a Markdown table, for the documentation."""
    lines = ["| environment | default | meaning |", "| --- | --- | --- |"]
    for v in VARIABLES:
        default = v.shown or (
            "on" if v.default is True else "off" if v.default is False else v.default
        )
        name = f"`{v.name}`" + (f", `{v.name}_FILE`" if v.may_be_file else "")
        lines.append(f"| {name} | {default} | {v.meaning} |")
    return "\n".join(lines)
