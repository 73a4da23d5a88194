"""The configuration of single sign-on: ``TASKYARD_OIDC`` in the settings of our own project."""

from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.signals import setting_changed

from taskyard.accounts.errors import PasswordLoginOff, SsoOff


@dataclass(frozen=True)
class Configuration:
    """The provider, our ids as its clients, and the roles of groups."""

    issuer: str
    client_id: str | None
    """None: no sign-in on the page."""
    client_secret: str | None
    audience: str | None
    """None: no bearer tokens of the issuer on the API."""
    name: str
    scope: str
    groups_claim: str
    staff_group: str | None
    viewer_group: str | None
    cli_client_id: str | None
    cli_scope: str
    session_seconds: int
    public_url: str | None = None
    """The start of the redirect address; None: the host of the request."""

    @property
    def has_roles(self) -> bool:
        return self.staff_group is not None or self.viewer_group is not None


@cache
def configuration() -> Configuration | None:
    """The configuration; None if single sign-on is off."""
    given: dict[str, Any] | None = getattr(settings, "TASKYARD_OIDC", None)
    return None if given is None else Configuration(**given)


def required() -> Configuration:
    """The configuration. Raises SsoOff."""
    current = configuration()
    if current is None:
        raise SsoOff
    return current


def page_name() -> str:
    """The name on the button of the log-in page; empty without sign-in on the page."""
    current = configuration()
    return current.name if current is not None and current.client_id is not None else ""


@cache
def passwords_are_on() -> bool:
    """Whether people may register and log in with a password."""
    return bool(getattr(settings, "TASKYARD_PASSWORD_LOGIN", True))


def require_passwords() -> None:
    """Raises PasswordLoginOff."""
    if not passwords_are_on():
        raise PasswordLoginOff


def host_of(issuer: str) -> str:
    """The host of an issuer, for people."""
    return urlsplit(issuer).netloc


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in ("TASKYARD_OIDC", "TASKYARD_PASSWORD_LOGIN"):
        configuration.cache_clear()
        passwords_are_on.cache_clear()


# Tests change settings.
setting_changed.connect(_forget)
