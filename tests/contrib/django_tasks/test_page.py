"""The page on Django tasks: its code runs, its settings are the ones of the backend."""

from dataclasses import dataclass
from typing import Any

import pytest

from taskyard.contrib.django_tasks import TaskyardBackend, TaskyardTask
from taskyard.contrib.django_tasks.checks import OPTIONS
from tests.contrib.django_tasks.conftest import Work
from tests.contrib.django_tasks.names import task
from tests.docs.pages import DOCS, blocks

PAGE = DOCS / "how-to/django-tasks.md"


@dataclass
class Order:
    """An order of a shop."""

    pk: int

    def save(self) -> None: ...


def test_the_code_of_the_page_runs(work: Work) -> None:
    _, declared = [block.text for block in blocks(PAGE)]
    shop: dict[str, Any] = {"__name__": "shop_of_the_page", "task": task}
    exec(declared.replace("from django.tasks import task\n", ""), shop)
    invoice = shop["confirm"](Order(7))
    orders = shop["import_orders"].enqueue(3)
    work()
    assert shop["send_invoice"].get_result(invoice).return_value == "invoice of order 7"
    assert shop["import_orders"].get_result(orders.id).return_value == 1


def test_the_settings_of_the_page() -> None:
    settings, _ = [block.text for block in blocks(PAGE)]
    backend = f"{TaskyardBackend.__module__.rpartition('.')[0]}.{TaskyardBackend.__name__}"
    assert f'"{backend}"' in settings


@pytest.mark.parametrize("option", ["owner", "key", "max_attempts"])
def test_the_page_has_each_option_of_using(option: str) -> None:
    assert option in TaskyardTask.using.__annotations__
    assert f"| `{option}` |" in PAGE.read_text()


def test_the_page_has_each_option_of_the_backend() -> None:
    for option in OPTIONS:
        assert f"| `{option}` |" in PAGE.read_text()
