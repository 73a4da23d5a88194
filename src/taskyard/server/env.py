"""The environment variables of Taskyard: one model with their types, defaults and meanings.

The settings of the apps (``core.conf``) are variables too, under the prefix ``TASKYARD_``.
"""

import os
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
)

from taskyard.core import redis_url
from taskyard.core.conf import Conf
from taskyard.server import mail_server
from taskyard.server.addresses import is_local as is_local

LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
DATABASE_SCHEMES = ("postgres", "postgresql", "sqlite")
# What may follow the ? of an S3's address; django-storages has options of these names.
S3_PARAMETERS = ("endpoint_url", "region_name", "addressing_style")
WELL_KNOWN_KEYS = ("django-insecure", "changeme", "change-me", "secret", "insecure", "password")

# ``NAME_FILE`` can name a file with the value.
MAY_BE_FILES = frozenset(
    {
        *("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "DJANGO_SECRET_KEY", "DJANGO_DEBUG"),
        *("DJANGO_ALLOWED_HOSTS", "DJANGO_CSRF_TRUSTED_ORIGINS", "TASKYARD_METRICS_TOKEN"),
        *("TASKYARD_FILES_ACCESS_KEY", "TASKYARD_FILES_SECRET_KEY", "TASKYARD_ENCRYPTION_KEYS"),
        "TASKYARD_OIDC_CLIENT_SECRET",
        "TASKYARD_EMAIL_URL",
    }
)
# Settings of the apps that have another name in the environment.
RENAMED = frozenset({"BROKER_URL"})

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


def _database_url(url: str) -> str:
    # The value may contain a password, so the message never repeats it.
    scheme = urlsplit(url).scheme
    if scheme not in DATABASE_SCHEMES or len(url) <= len(scheme) + 3:
        examples = ", ".join(f"{scheme}://…" for scheme in DATABASE_SCHEMES)
        raise ValueError(f"expected an address like {examples}")
    return url


def _redis_url(url: str) -> str:
    redis_url.parse(url)
    return url


def _files_url(url: str) -> str:
    # The value may contain a password, so the message never repeats it.
    parts = urlsplit(url)
    if parts.scheme == "file" and not (parts.netloc or parts.query) and len(parts.path) > 1:
        return url
    if parts.scheme != "s3" or not re.fullmatch(r"[A-Za-z0-9._-]{3,255}", parts.netloc):
        raise ValueError("expected file:///folder or s3://bucket/prefix, without credentials")
    try:
        given = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError("after the ? are parameters expected, as name=value") from None
    for name, values in given.items():
        if name not in S3_PARAMETERS:
            raise ValueError(f"an S3 has the parameters {', '.join(S3_PARAMETERS)}")
        if len(values) > 1 or not values[0]:
            raise ValueError(f"expected one value for {name}")
    endpoint = given.get("endpoint_url", ["https://"])[0]
    if not endpoint.startswith(("http://", "https://")) or "@" in endpoint:
        raise ValueError("endpoint_url: expected an address like https://s3.example.org")
    if given.get("addressing_style", ["auto"])[0] not in ("auto", "path", "virtual"):
        raise ValueError("addressing_style: expected auto, path or virtual")
    return url


def _issuer(url: str) -> str:
    parts = urlsplit(url)
    is_secure = parts.scheme == "https" or (
        parts.scheme == "http" and is_local(parts.hostname or "")
    )
    if not (is_secure and parts.hostname) or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("expected an address like https://login.example.org/realms/main")
    return url


def _base_path(path: str) -> str:
    path = path.rstrip("/")
    if path and not re.fullmatch(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+", path):
        raise ValueError("expected a path like /jobs")
    if path.partition("/")[2].partition("/")[0] in ("api", "admin", "static"):
        raise ValueError(f"{path} would be taken for an address of Taskyard's own")
    return path


def _bearer(token: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{16,512}", token):
        raise ValueError("expected 16 or more letters, digits or signs, without spaces")
    return token


def _origin(origin: str) -> str:
    if not origin.startswith(("http://", "https://")):
        raise ValueError("expected origins like https://tasks.example.org, separated by commas")
    return origin


def _cors_origin(origin: str) -> str:
    parts = urlsplit(origin)
    # A browser's Origin header has scheme, host and port only.
    bare = f"{parts.scheme}://{parts.netloc}"
    if origin != "*" and (origin != bare or parts.scheme not in ("http", "https") or "*" in origin):
        raise ValueError("expected origins like https://app.example.org, without a path, or *")
    return origin


def _cores() -> int:
    # A container may use fewer cores than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


RedisUrl = Annotated[str, AfterValidator(_redis_url)] | None
Count = Annotated[int, Field(ge=1, le=256)]
Seconds = Annotated[int, Field(ge=1, le=3600)]


class Project(BaseModel):
    """The variables of our own project."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    HOST: str = "127.0.0.1"
    """Address the web listens on."""
    PORT: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port the web listens on."""
    TASKYARD_HOME: Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())] = (
        Field(Path(".taskyard"), validate_default=True)
    )
    """Embedded database, broker files, generated secret, and the files of tasks."""
    DATABASE_URL: Annotated[str, AfterValidator(_database_url)] | None = None
    """The database; by default SQLite in TASKYARD_HOME."""
    REDIS_URL: RedisUrl = None
    """Redis or Valkey, also by its sentinels: Celery's broker, wake-ups, live hints, throttles; by
    default an embedded Valkey."""
    CELERY_BROKER_URL: RedisUrl = None
    """Another name for REDIS_URL."""
    TASKYARD_FILES_URL: Annotated[str, AfterValidator(_files_url)] | None = None
    """Where the bytes of files are: `file:///folder` or `s3://bucket/prefix`; by default the folder
    `files` in TASKYARD_HOME."""
    TASKYARD_FILES_ACCESS_KEY: str | None = None
    """The access key of the S3; by default AWS_ACCESS_KEY_ID, a profile or the machine's role."""
    TASKYARD_FILES_SECRET_KEY: str | None = None
    """The secret key of the S3."""
    TASKYARD_EMAIL_URL: Annotated[str, AfterValidator(mail_server.check)] | None = None
    """How mails are sent: `smtp://user:password@host:587` (with STARTTLS; `?starttls=off` without,
    as to this machine), `smtps://…`, or for trials `file:///folder` or `console://`. Needs
    TASKYARD_EMAIL_FROM, and TASKYARD_PUBLIC_URL if others than this machine reach the web."""
    DJANGO_SECRET_KEY: str | None = None
    """Signs tokens and sessions; 32 bytes or more. By default generated in TASKYARD_HOME."""
    DJANGO_DEBUG: bool = False
    """Django's debug mode; local only."""
    DJANGO_ALLOWED_HOSTS: list[str] = LOCAL_HOSTS
    """Host names the web answers to."""
    DJANGO_CSRF_TRUSTED_ORIGINS: list[Annotated[str, AfterValidator(_origin)]] = []
    """Origins behind a proxy that may post forms."""
    TASKYARD_CORS_ORIGINS: list[Annotated[str, AfterValidator(_cors_origin)]] = []
    """Origins whose browser applications may use the API; * is any."""
    TASKYARD_HTTPS: bool = False
    """The world reaches the web by HTTPS only: secure cookies, HSTS, redirects."""
    TASKYARD_BASE_PATH: Annotated[str, AfterValidator(_base_path)] = ""
    """Path under which a proxy shows Taskyard, such as `/jobs`."""
    TASKYARD_KEEP_ALIVE_SECONDS: Seconds = 75
    """How long the web keeps an idle connection; longer than any proxy in front does."""
    TASKYARD_METRICS_TOKEN: Annotated[str, AfterValidator(_bearer)] | None = None
    """A bearer token that may read `/metrics`, and nothing else."""
    TASKYARD_THREADS: Count = 4
    """Threads that answer ordinary requests; while some wait, up to four times as many, each with a
    connection to the database."""
    TASKYARD_HASHING_THREADS: Count = Field(default_factory=lambda: max(1, _cores() // 2))
    """Threads that hash passwords: they answer registrations and logins, and nothing else; by
    default half as many as cores."""
    TASKYARD_HASHING_QUEUE: Annotated[int, Field(ge=1, le=10_000)] = 128
    """Registrations and logins that wait or are answered, half for one address; more are 503."""
    TASKYARD_LONG_REQUESTS: Count = 2
    """Requests with a body above 64 KiB that are worked on at once, one of an address."""
    TASKYARD_BODY_BYTES: Annotated[ByteSize, Field(ge=2**25, le=2**30)] = ByteSize(2**26)
    """Bytes of bodies above 16 KiB held at once, a quarter for one address; more are 503."""
    TASKYARD_FORM_BYTES: Annotated[ByteSize, Field(ge=2**14, le=2**23)] = ByteSize(2**20)
    """Bytes of a form of the page; more are 413."""
    TASKYARD_HEADER_BYTES: Annotated[ByteSize, Field(ge=2**13, le=2**20)] = ByteSize(2**16)
    """Bytes of a request's line and headers; more are 431."""
    TASKYARD_HEADER_COUNT: Annotated[int, Field(ge=32, le=10_000)] = 200
    """Headers of a request; more are 431."""
    TASKYARD_STALL_SECONDS: Seconds = 30
    """How long a request's headers may take, and how often the two least rates are looked at."""
    TASKYARD_LEAST_RATE: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    """Bytes a second at which a client must send its body and read its answer."""
    TASKYARD_UNREAD_BYTES: Annotated[ByteSize, Field(ge=2**20, le=2**30)] = ByteSize(2**28)
    """Bytes of answers kept for clients that read slowly; beyond, the slowest are cut."""
    TASKYARD_CONCURRENCY: Annotated[int, Field(ge=1, le=1024)] = Field(default_factory=_cores)
    """Worker processes; by default as many as cores."""
    TASKYARD_PASSWORD_POLICY: Literal["basic", "strict"] = "basic"  # noqa: S105
    """strict: 12 characters and no common password; basic: 8 characters."""
    TASKYARD_PASSWORD_LOGIN: bool = True
    """People register and log in with a password; off: only by single sign-on."""
    TASKYARD_OIDC_ISSUER: Annotated[str, AfterValidator(_issuer)] | None = None
    """The OpenID provider of single sign-on, as it names itself in its discovery document."""
    TASKYARD_OIDC_CLIENT_ID: str | None = None
    """The client at the provider by which people sign in on the page."""
    TASKYARD_OIDC_CLIENT_SECRET: str | None = None
    """The secret of that client; a public client has none."""
    TASKYARD_OIDC_AUDIENCE: str | None = None
    """Access tokens of the provider for this audience are accepted on the API."""
    TASKYARD_OIDC_NAME: str = ""
    """The provider's name on the log-in page; by default its host."""
    TASKYARD_OIDC_SCOPE: str = "openid profile email"
    """What the page asks the provider for."""
    TASKYARD_OIDC_GROUPS_CLAIM: str = "groups"
    """The claim with a person's groups."""
    TASKYARD_OIDC_STAFF_GROUP: str | None = None
    """Members of this group are staff; others who sign in by the provider are not."""
    TASKYARD_OIDC_VIEWER_GROUP: str | None = None
    """Members of this group are staff who see and change nothing."""
    TASKYARD_OIDC_SESSION_HOURS: Annotated[int, Field(ge=1, le=24 * 14)] = 12
    """How long a sign-in by the provider lasts on the page; then the groups are read again."""
    TASKYARD_OIDC_CLI_CLIENT_ID: str | None = None
    """The public client at the provider for `taskyard login --sso`."""
    TASKYARD_OIDC_CLI_SCOPE: str = "openid profile email offline_access"
    """What `taskyard login --sso` asks the provider for."""
    TASKYARD_CLOCK_LEEWAY_SECONDS: Annotated[int, Field(ge=0, le=600)] = 10
    """How far the clocks of webs may differ: a token of so far in the future is accepted."""
    TASKYARD_LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least level that is logged."""
    TASKYARD_LOG_FORMAT: Literal["auto", "json", "text"] = "auto"
    """auto: lines for a person on a terminal, JSON lines anywhere else."""
    TASKYARD_LOG_REQUESTS: bool = True
    """The web logs a line for each request, at the level INFO."""
    TASKYARD_PROCESS: Literal["web", "worker", "command"] = "command"
    """What this process is; set by the taskyard commands themselves."""

    @field_validator("*", mode="before")
    @classmethod
    def split(cls, raw: Any, info: ValidationInfo) -> Any:
        """Split the text of a list at its commas."""
        annotation = str(cls.model_fields[str(info.field_name)].annotation)
        if "list[" not in annotation or not isinstance(raw, str):
            return raw
        return [word for part in raw.split(",") if (word := part.strip())]


_of_the_apps: dict[str, Any] = {
    f"TASKYARD_{name}": (field.annotation, field)
    for name, field in Conf.model_fields.items()
    if name not in RENAMED
}
Environment = create_model("Environment", __base__=Project, **_of_the_apps)
NAMES = tuple(Environment.model_fields)


def _raw(name: str, environ: Mapping[str, str]) -> str | None:
    """The text of a variable, from itself or from the file that `…_FILE` names, or None."""
    raw = environ.get(name) or None
    path = environ.get(f"{name}_FILE") if name in MAY_BE_FILES else None
    if not path:
        return raw
    if raw is not None:
        raise ConfigurationError(f"{name} and {name}_FILE are both set; give one")
    try:
        return Path(path).read_text().strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{name}_FILE cannot be read: {error}") from None


def read(environ: Mapping[str, str]) -> dict[str, Any]:
    """Every variable's value by name. Raises ConfigurationError for a bad name or value."""
    known = {*NAMES, *CLIENT_NAMES, *(f"{name}_FILE" for name in MAY_BE_FILES)}
    for name in environ:
        if name.startswith("TASKYARD_") and name not in known:
            raise ConfigurationError(f"{name} is not a setting of Taskyard")
    given = {name: raw for name in NAMES if (raw := _raw(name, environ)) is not None}
    try:
        return Environment.model_validate(given).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"{first['loc'][0]}: {reason}") from None


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
    _refuse_half_a_mail_configuration(values)
    key: str | None = values["DJANGO_SECRET_KEY"]
    if key is None:
        return
    if len(key.encode()) < 32:
        raise ConfigurationError("DJANGO_SECRET_KEY is shorter than 32 bytes")
    if key.lower().startswith(WELL_KNOWN_KEYS) or len(set(key)) < 8:
        raise ConfigurationError("DJANGO_SECRET_KEY is a well-known default; generate one")


def single_sign_on(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """The settings of single sign-on; None without an issuer.

    Raises ConfigurationError for settings that do not fit together.
    """
    prefix = "TASKYARD_OIDC_"
    given: dict[str, Any] = {
        name.removeprefix(prefix).lower(): value or None
        for name, value in values.items()
        if name.startswith(prefix)
    }
    if not values["TASKYARD_PASSWORD_LOGIN"] and not (given["issuer"] and given["client_id"]):
        raise ConfigurationError(
            "TASKYARD_PASSWORD_LOGIN is off, and without single sign-on no user could log in"
        )
    if given["issuer"] is None:
        for name in ("client_id", "client_secret", "audience", "staff_group", "viewer_group"):
            if given[name] is not None:
                raise ConfigurationError(f"{prefix}{name.upper()} needs {prefix}ISSUER")
        return None
    if given["client_id"] is None and given["audience"] is None:
        raise ConfigurationError(f"{prefix}ISSUER needs {prefix}CLIENT_ID or {prefix}AUDIENCE")
    if given["cli_client_id"] is not None and given["audience"] is None:
        raise ConfigurationError(f"{prefix}CLI_CLIENT_ID needs {prefix}AUDIENCE")
    if given["audience"] in (given["client_id"] or "", given["cli_client_id"] or ""):
        # An ID token has the client as its audience, and must not pass for an access token.
        raise ConfigurationError(f"{prefix}AUDIENCE must differ from the ids of the clients")
    if given["staff_group"] is not None and given["staff_group"] == given["viewer_group"]:
        raise ConfigurationError(f"{prefix}STAFF_GROUP and {prefix}VIEWER_GROUP are the same")
    if "openid" not in (given["scope"] or "").split():
        raise ConfigurationError(f"{prefix}SCOPE must contain openid")
    if find_spec("authlib") is None or find_spec("joserfc") is None:
        raise ConfigurationError(f"{prefix}ISSUER needs: pip install 'taskyard[oidc]'")
    given["name"] = given["name"] or urlsplit(given["issuer"]).hostname
    given["cli_scope"] = given["cli_scope"] or ""
    given["groups_claim"] = given["groups_claim"] or "groups"
    given["session_seconds"] = 3600 * given.pop("session_hours")
    given["public_url"] = values["TASKYARD_PUBLIC_URL"]
    return given


def _refuse_half_a_mail_configuration(values: Mapping[str, Any]) -> None:
    url, sender = values["TASKYARD_EMAIL_URL"], values["TASKYARD_EMAIL_FROM"]
    if (url is None) != (sender is None):
        one, other = ("URL", "FROM") if url else ("FROM", "URL")
        raise ConfigurationError(f"TASKYARD_EMAIL_{one} needs TASKYARD_EMAIL_{other}")
    if url and public_url(values) is None:
        raise ConfigurationError(
            "TASKYARD_EMAIL_URL needs TASKYARD_PUBLIC_URL: links in mails begin with it"
        )


def public_url(values: Mapping[str, Any]) -> str | None:
    """Where people reach the web: the setting, or this machine if the web answers to no other."""
    hosts: list[str] = values["DJANGO_ALLOWED_HOSTS"]
    if url := values["TASKYARD_PUBLIC_URL"]:
        return str(url)
    if not hosts or not values["PORT"] or not all(is_local(host) for host in hosts):
        return None
    host = values["HOST"] if values["HOST"] in hosts else hosts[0]
    return f"http://{host}:{values['PORT']}"


def markdown() -> str:
    """The variables as a Markdown table, for the documentation."""
    lines = ["| environment | default | meaning |", "| --- | --- | --- |"]
    for name, field in Environment.model_fields.items():
        names = f"`{name}`" + (f", `{name}_FILE`" if name in MAY_BE_FILES else "")
        default = None if field.default_factory else field.default
        meaning = " ".join((field.description or "").replace("``", "`").split())
        lines.append(f"| {names} | {_shown(default)} | {meaning} |")
    return "\n".join(lines)


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, ByteSize):
        return default.human_readable(separator=" ").replace(".0", "")
    if isinstance(default, list):
        return ", ".join(default) or "–"
    return "–" if default in (None, "") else str(default)
