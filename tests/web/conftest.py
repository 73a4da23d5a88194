"""Fixtures: Django's test client with the session of a user."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from django.test import Client

from tests.api.conftest import fake_worker, new_user, no_throttles

if TYPE_CHECKING:
    from taskyard.accounts.models import User

__all__ = ["fake_worker", "new_user", "no_throttles"]


@pytest.fixture
def ann(new_user: "Callable[..., User]") -> "User":
    return new_user("ann")


@pytest.fixture
def browse() -> "Callable[[User], Client]":
    """Make a client with the session of a user, in English."""

    def make(user: "User") -> Client:
        client = Client(headers={"accept-language": "en"})
        client.force_login(user)
        return client

    return make


@pytest.fixture
def page(ann: "User", browse: "Callable[[User], Client]") -> Client:
    return browse(ann)
