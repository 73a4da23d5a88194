"""Clients of the API for users, and the settings of its tests."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from tests.api_client import ApiClient
from tests.configured import configure
from tests.people import access_of

# Import models only inside fixtures, because this file is loaded before Django is set up.
if TYPE_CHECKING:
    from taskyard.accounts.models import User
    from tests.fake_worker import FakeWorker


@pytest.fixture(autouse=True)
def no_throttles(settings: Any) -> None:
    """Switch throttles off, because all tests come from one address."""
    configure(settings, REGISTER_RATE=None, LOGIN_RATE=None, ATTEMPT_RATE=None)


@pytest.fixture
def new_user(db: None) -> "Callable[..., User]":
    from django.contrib.auth import get_user_model

    from taskyard.core import lifecycle

    def make(username: str = "newuser", **fields: Any) -> Any:
        users = get_user_model()
        # Hashing takes a tenth of a second; only the tests of logins need a password.
        named = {users.USERNAME_FIELD: username, "password": "!", **fields}
        user = users._default_manager.create(**named)
        lifecycle.open_quota(user.pk)
        return user

    return make


@pytest.fixture
def user(new_user: "Callable[..., User]") -> "User":
    return new_user()


@pytest.fixture
def nobody(db: None) -> ApiClient:
    return ApiClient(Client(raise_request_exception=False))


@pytest.fixture
def as_user() -> "Callable[[User], ApiClient]":
    def make(user: Any) -> ApiClient:
        return ApiClient(Client(raise_request_exception=False), access_of(user))

    return make


@pytest.fixture
def api(user: "User", as_user: "Callable[[User], ApiClient]") -> ApiClient:
    """A client of the API for ``user``."""
    return as_user(user)


@pytest.fixture
def other(new_user: "Callable[..., User]", as_user: "Callable[[User], ApiClient]") -> ApiClient:
    """A client of the API for another user."""
    return as_user(new_user("other"))


@pytest.fixture
def staff(new_user: "Callable[..., User]", as_user: "Callable[[User], ApiClient]") -> ApiClient:
    return as_user(new_user("staff", is_staff=True))


@pytest.fixture
def fake_worker(db: None) -> "FakeWorker":
    from tests.fake_worker import FakeWorker

    return FakeWorker()
