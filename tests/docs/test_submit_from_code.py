"""The page on submits from a project's own code: its code runs on the database of the tests."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from taskyard import jobs
from taskyard.catalog.task_type import registry
from taskyard.core.models import Task
from tests.docs.pages import DOCS, blocks

pytestmark = pytest.mark.django_db
PAGE = DOCS / "how-to/submit-from-your-own-code.md"


@dataclass
class Order:
    """An order of a shop."""

    pk: int
    customer: Any
    save: Callable[[], None] = lambda: None
    confirmed: bool = False


@pytest.fixture
def shop() -> Iterator[dict[str, Any]]:
    """The names that the page's code defines."""
    names: dict[str, Any] = {"__name__": "shop"}
    for block in blocks(PAGE):
        exec(block.text, names)
    yield names
    registry._types.pop("send-invoice")


def test_the_page_submits_with_the_order(shop: dict[str, Any], django_user_model: Any) -> None:
    customer = django_user_model.objects.create_user("customer")
    task = shop["confirm"](Order(7, customer))
    assert (task.owner_id, task.input_data, task.max_attempts) == (customer.pk, {"order_id": 7}, 5)


def test_the_page_shows_each_error(shop: dict[str, Any]) -> None:
    refused = shop["refused_fields"](7)
    assert [pointer for pointer, _ in refused] == ["/timeout", "/input_data/copies"]
    assert not Task.objects.exists()


def test_the_page_names_each_function_and_option() -> None:
    text = PAGE.read_text()
    for name in ("submit", "submit_many", "get", "cancel"):
        assert f"`jobs.{name}(" in text
    for option in jobs.Options.__annotations__:
        assert f"| `{option}` |" in text
