"""What a broker's URL says, read once for our own clients and for Celery.

``redis://``, ``rediss://``, or ``sentinel://host:26379;sentinel://host:26379/0?master_name=main``.
With TLS the certificate is checked, unless the URL says ``ssl_cert_reqs=none``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

SCHEMES = ("redis", "rediss", "sentinel")
PORTS = {"redis": 6379, "rediss": 6379, "sentinel": 26379}
FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")
TLS = (*FILES, "ssl_cert_reqs", "ssl_check_hostname")
SENTINEL = ("master_name", "sentinel_username", "sentinel_password")
OPTIONS: dict[str, tuple[str, ...]] = {"redis": (), "rediss": TLS, "sentinel": SENTINEL + TLS}


@dataclass(frozen=True, kw_only=True)
class RedisUrl:
    """``servers`` are sentinels where there is a ``master_name``; ``tls`` is None without TLS."""

    scheme: str
    servers: tuple[tuple[str, int], ...]
    username: str | None
    password: str | None
    database: int
    tls: Mapping[str, Any] | None
    master_name: str | None
    sentinel_username: str | None
    sentinel_password: str | None

    def connection(self) -> dict[str, Any]:
        """What redis-py's clients and pools take, but for the server."""
        said = {"username": self.username, "password": self.password, "db": self.database}
        return said | self._tls()

    def sentinel(self) -> dict[str, Any]:
        """The same for the connections to the sentinels."""
        said = {"username": self.sentinel_username, "password": self.sentinel_password}
        return said | self._tls()

    def celery_url(self) -> str:
        """Without options: Celery gets these by its configuration."""
        user = quote(self.username or "", safe="")
        password = f":{quote(self.password, safe='')}" if self.password else ""
        at = f"{user}{password}@" if user or password else ""
        return ";".join(
            f"{self.scheme}://{at}{f'[{host}]' if ':' in host else host}:{port}/{self.database}"
            for host, port in self.servers
        )

    def celery_tls(self) -> dict[str, Any] | None:
        return None if self.tls is None else dict(self.tls)

    def celery_options(self) -> dict[str, Any]:
        if self.master_name is None:
            return {}
        return {"master_name": self.master_name, "sentinel_kwargs": self.sentinel()}

    def _tls(self) -> dict[str, Any]:
        return {} if self.tls is None else {"ssl": True, **self.tls}


def parse(url: str) -> RedisUrl:
    """Raises ValueError; its message never repeats the URL, which may hold a password."""
    try:
        parts = [urlsplit(part) for part in url.split(";")]
        ports = [part.port for part in parts]
    except ValueError:
        raise ValueError(
            "cannot be read; write : / ? # @ in a password as %3A %2F %3F %23 %40"
        ) from None
    scheme = parts[0].scheme
    if scheme not in SCHEMES or any(part.scheme != scheme for part in parts):
        raise ValueError(
            "expected an address like redis://…, rediss://…, sentinel://…;sentinel://…"
        )
    if len(parts) > 1 and scheme != "sentinel":
        raise ValueError("only sentinel:// takes several servers")
    options = dict(option for part in parts for option in parse_qsl(part.query))
    _refuse_unknown(options, OPTIONS[scheme])
    if scheme == "sentinel" and not options.get("master_name"):
        raise ValueError("a sentinel:// address needs ?master_name=…")
    first = next((part for part in parts if part.password or part.username), parts[0])
    return RedisUrl(
        scheme=scheme,
        servers=tuple(
            (part.hostname or "localhost", port or PORTS[scheme])
            for part, port in zip(parts, ports, strict=True)
        ),
        username=unquote(first.username) if first.username else None,
        password=unquote(first.password) if first.password else None,
        database=_database([part.path for part in parts]),
        tls=_tls(options, wanted=scheme == "rediss" or any(name in TLS for name in options)),
        master_name=options.get("master_name"),
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
    )


def _refuse_unknown(options: Mapping[str, str], known: tuple[str, ...]) -> None:
    if unknown := sorted(options.keys() - set(known)):
        raise ValueError(f"unknown option {unknown[0]}; known are {', '.join(known) or 'none'}")


def _database(paths: list[str]) -> int:
    named = {path.strip("/") for path in paths} - {""}
    if len(named) > 1 or not all(name.isdecimal() for name in named):
        raise ValueError("expected the number of a database after the last /")
    return int(named.pop()) if named else 0


def _tls(options: Mapping[str, str], *, wanted: bool) -> dict[str, Any] | None:
    if not wanted:
        return None
    asked = options.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    if asked not in ("required", "optional", "none"):
        raise ValueError("ssl_cert_reqs: expected required, optional or none")
    by_name = options.get("ssl_check_hostname", "true").lower() not in ("false", "no", "0")
    files = {name: options[name] for name in FILES if name in options}
    return files | {"ssl_cert_reqs": asked, "ssl_check_hostname": by_name and asked != "none"}
