"""Fixtures: a signed-in member of staff, and an owner of tasks."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.core.cache import cache
from django.test import Client

from tests.api.conftest import as_user
from tests.web.test_browser import browser, new_person

if TYPE_CHECKING:
    from taskyard.accounts.models import User
    from taskyard.core.models import Task


__all__ = ["as_user", "browser", "new_person"]


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    """Clear the cache, which holds statistics of the test before."""
    cache.clear()


@pytest.fixture
def boss(new_user: "Callable[..., User]") -> "User":
    return new_user("boss", is_staff=True)


@pytest.fixture
def page(boss: "User") -> Client:
    """A client with the session of a member of staff, in English."""
    return browser_of(boss)


@pytest.fixture
def owner(new_user: "Callable[..., User]") -> "User":
    return new_user("owner")


@pytest.fixture
def submit(owner: "User") -> "Callable[..., Task]":
    from taskyard.core import lifecycle
    from taskyard.core.types import NewTask

    def make(task_type: str = "sum", *, by: Any = None, **options: Any) -> "Task":
        new = {"queue": "default", "input_data": {"numbers": [1, 2]}, **options}
        return lifecycle.submit((by or owner).pk, NewTask(task_type=task_type, **new))

    return make


def browser_of(user: "User") -> Client:
    client = Client(headers={"Accept-Language": "en"})
    client.force_login(user)
    return client
