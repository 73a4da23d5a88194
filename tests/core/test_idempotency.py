"""The same request again gets the same tasks."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from taskyard.core import idempotency
from taskyard.core.errors import ActiveLimitExceeded, KeyReused
from taskyard.core.models import IdempotencyKey, Quota, Task
from taskyard.core.types import UserId
from tests.core.conftest import new_task
from tests.core.test_races import at_once
from tests.people import new_user


@pytest.mark.django_db
def test_the_second_request_gets_the_first_ones_tasks(owner_id: UserId) -> None:
    first = idempotency.submit_once(owner_id, "k", "same", [new_task(), new_task()])
    assert idempotency.submit_once(owner_id, "k", "same", [new_task(), new_task()]) == (
        first[0],
        True,
    )
    assert Task.objects.count() == 2


@pytest.mark.django_db
def test_another_body_under_the_same_key_is_refused(owner_id: UserId) -> None:
    idempotency.submit_once(owner_id, "k", "one", [new_task()])
    with pytest.raises(KeyReused, match="The idempotency key belongs to a request with another"):
        idempotency.submit_once(owner_id, "k", "two", [new_task()])


@pytest.mark.django_db
def test_keys_are_each_owners(owner_id: UserId) -> None:
    other = new_user("other").pk
    ids = [idempotency.submit_once(owner, "k", "x", [new_task()])[0] for owner in (owner_id, other)]
    assert ids[0] != ids[1]


@pytest.mark.django_db
def test_a_refused_submit_leaves_the_key_free(owner_id: UserId) -> None:
    with pytest.raises(ActiveLimitExceeded):
        idempotency.submit_once(owner_id, "k", "x", [new_task()] * 6)
    assert not IdempotencyKey.objects.exists()
    assert idempotency.submit_once(owner_id, "k", "y", [new_task()])[1] is False


@pytest.mark.django_db
def test_a_key_is_forgotten_after_a_day(owner_id: UserId) -> None:
    idempotency.submit_once(owner_id, "k", "one", [new_task()])
    IdempotencyKey.objects.update(created_at=Now() - timedelta(hours=25))
    assert idempotency.submit_once(owner_id, "k", "two", [new_task()])[1] is False
    IdempotencyKey.objects.update(created_at=Now() - timedelta(hours=25))
    assert idempotency.delete_expired(10) == 1


@pytest.mark.django_db(transaction=True)
def test_100_at_once_under_one_key_are_one_task(owner_id: UserId) -> None:
    answers = at_once(
        16, lambda n: idempotency.submit_once(owner_id, "k", "same", [new_task()]), 100
    )
    assert len({tuple(ids) for ids, _ in answers}) == 1
    assert sum(not replayed for _, replayed in answers) == 1
    assert Task.objects.count() == Quota.objects.get().active == 1
