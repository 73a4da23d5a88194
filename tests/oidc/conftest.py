"""Fixtures: issuers, and a Taskyard that trusts them."""

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client

from tests.api.conftest import new_user, no_throttles, nobody
from tests.api_client import ApiClient
from tests.oidc.issuer import Issuer
from tests.oidc.provider import AUDIENCE, PAGE, PAGE_SECRET, PROGRAM, Provider

__all__ = ["new_user", "no_throttles", "nobody"]
CALLBACK = "http://testserver/sso/callback/"


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    """Forget what the process keeps of issuers, whose ports are used again."""
    yield
    from taskyard.accounts.oidc import http, provider, verification

    http.client(is_local=True).close()
    http.client.cache_clear()
    provider.provider_of.cache_clear()
    verification._verified.cache_clear()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


@pytest.fixture
def trusted(issuer: Issuer, settings: Any) -> Issuer:
    """An issuer that this Taskyard trusts."""
    settings.TASKYARD_OIDC = issuer.configuration()
    return issuer


@pytest.fixture(scope="session")
def _provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with Provider(CALLBACK, tmp_path_factory.mktemp("provider")) as provider:
        yield provider


@pytest.fixture
def provider(_provider: Provider, settings: Any) -> Provider:
    """The certified provider; this Taskyard signs people in there."""
    _provider.people = {}
    settings.TASKYARD_OIDC = {
        "issuer": _provider.issuer,
        "client_id": PAGE,
        "client_secret": PAGE_SECRET,
        "audience": AUDIENCE,
        "name": "Example",
        "scope": "openid profile email",
        "groups_claim": "groups",
        "staff_group": "taskyard-staff",
        "viewer_group": None,
        "cli_client_id": PROGRAM,
        "cli_scope": "openid profile email offline_access",
        "session_seconds": 3600,
    }
    return _provider


@pytest.fixture
def bearer(db: None) -> Callable[[str], ApiClient]:
    return lambda token: ApiClient(Client(raise_request_exception=False), token)


@pytest.fixture
def subject() -> str:
    """The id of a person at the provider."""
    return f"person-{secrets.token_hex(4)}"
