"""The installation's id: made once, kept in the database, read once a process."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from taskyard.core import installation
from taskyard.core.installation import installation_id
from taskyard.core.models import Installation
from taskyard.core.redis import BrokerUnavailable, key

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process on a new database; afterwards the process knows what it knew."""
    monkeypatch.setattr(installation, "_known", None)
    Installation.objects.all().delete()


def test_the_first_of_many_makes_it_and_all_have_the_same() -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: installation_id(), range(16)))
    assert found == {Installation.objects.get().key}
    assert key("bell", "default") == f"taskyard:{found.pop()}:bell:default"


def test_it_is_read_once_a_process(django_assert_num_queries: Any) -> None:
    installation_id()
    with django_assert_num_queries(0):
        installation_id()


def test_one_that_was_rolled_back_is_not_kept() -> None:
    with transaction.atomic():
        lost = installation_id()
        transaction.set_rollback(True)
    assert installation_id() == Installation.objects.get().key != lost


def test_without_the_database_there_is_no_name_and_no_error_but_a_broker_that_is_away() -> None:
    def away(*args: Any) -> None:
        raise OperationalError("away")

    with connection.execute_wrapper(away), pytest.raises(BrokerUnavailable):
        key("bell", "default")
