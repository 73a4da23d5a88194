"""Service accounts for tests: their clients, and the statements of a request."""

from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from taskyard.accounts import keys, service_accounts
from taskyard.accounts.models import ServiceAccount
from taskyard.accounts.new_key import NewKey
from taskyard.accounts.scopes import Scope
from tests.api_client import ApiClient


class Backend(ApiClient):
    """A client with the key of a service account: ``backend.on_behalf_of("customer-17")``."""

    def __init__(self, access: str, subject: str | None = None) -> None:
        super().__init__(Client(raise_request_exception=False), access)
        self.subject = subject

    def on_behalf_of(self, subject: str) -> "Backend":
        return Backend(str(self.access), subject)

    def ask(self, method: str, path: str, *args: Any, **headers: Any) -> Any:
        if self.subject is not None:
            headers.setdefault("On_Behalf_Of", self.subject)
        return super().ask(method, path, *args, **headers)


def new_account(name: str = "shop") -> ServiceAccount:
    return service_accounts.create(name)


def new_key(account: ServiceAccount, *scopes: str, **limits: Any) -> str:
    """The text of a new key, by default with every scope."""
    named = [Scope(scope) for scope in scopes] or [*Scope]
    return keys.create(account.user, NewKey(name="backend", scopes=named, **limits))[1]


def new_backend(account: ServiceAccount, *scopes: str) -> Backend:
    return Backend(new_key(account, *scopes))


def statements(api: ApiClient) -> list[str]:
    """The first words of the statements of a create."""
    with CaptureQueriesContext(connection) as queries:
        assert api.create().status_code == 201
    return [query["sql"].split()[0] for query in queries]
