"""How fast a user may submit, and how many bytes are kept: exact, also for submits at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.db.models import Sum

from taskyard.core import deletion, lifecycle, transitions
from taskyard.core.allowance import ROW_BYTES
from taskyard.core.errors import ActiveLimitExceeded, BytesExceeded, SubmitRateExceeded
from taskyard.core.models import Quota, Task
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult, ClaimedTask, UserId
from tests.configured import configure
from tests.core.conftest import new_task

Submit = Callable[..., Task]


def of(owner_id: UserId) -> Quota:
    return Quota.objects.get(user_id=owner_id)


@pytest.mark.django_db
def test_a_rate_holds_and_says_when_to_come_again(
    submit: Submit, owner_id: UserId, settings: Any
) -> None:
    configure(settings, SUBMIT_RATE="3/min")
    for _ in range(3):
        lifecycle.cancel(submit().id, by_id=owner_id)
    with pytest.raises(SubmitRateExceeded) as caught:
        submit()
    assert 1 <= caught.value.retry_after <= 20
    with pytest.raises(SubmitRateExceeded):
        lifecycle.submit_all(owner_id, [new_task()] * 4)
    assert of(owner_id).active == 0
    configure(settings, SUBMIT_RATE=None)
    submit()


@pytest.mark.django_db
def test_what_is_over_the_limit_of_active_tasks_costs_nothing_of_the_rate(
    submit: Submit, owner_id: UserId, settings: Any
) -> None:
    configure(settings, SUBMIT_RATE="7/hour")
    tasks = [submit() for _ in range(5)]
    for _ in range(10):
        with pytest.raises(ActiveLimitExceeded):
            submit()
    lifecycle.cancel(tasks[0].id, by_id=owner_id)
    submit()


@pytest.mark.django_db(transaction=True)
def test_submits_at_the_same_moment_do_not_exceed_rate_and_budget(
    owner_id: UserId, settings: Any
) -> None:
    configure(settings, ACTIVE_LIMIT=1000)
    configure(settings, SUBMIT_RATE="20/hour")

    def try_one(number: int) -> str:
        try:
            lifecycle.submit(owner_id, new_task())
        except (SubmitRateExceeded, BytesExceeded) as refused:
            return refused.code
        finally:
            connections.close_all()
        return "accepted"

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(try_one, range(40)))
        assert said.count("accepted") == 20
        assert said.count("submit_rate_exceeded") == 20
        configure(settings, SUBMIT_RATE=None)
        configure(settings, BYTES_PER_USER=of(owner_id).bytes * 3 // 2)
        said = list(pool.map(try_one, range(20)))
    assert said.count("accepted") == 10
    assert said.count("bytes_limit_exceeded") == 10


@pytest.mark.django_db
def test_bytes_are_those_of_what_is_kept(
    submit: Submit, claim: Callable[..., list[ClaimedTask]], owner_id: UserId, settings: Any
) -> None:
    submit(input_data={"text": "ы" * 5000})
    small = submit()
    assert 2 * ROW_BYTES + 10_000 < of(owner_id).bytes < 2 * ROW_BYTES + 10_500
    result = b'"' + b"r" * 7000 + b'"'
    transitions.finish([AttemptResult(task, Status.COMPLETED, result=result) for task in claim()])
    kept = Task.objects.aggregate(Sum("size"))["size__sum"]
    assert of(owner_id).bytes == kept > 2 * ROW_BYTES + 24_000
    configure(settings, BYTES_PER_USER=kept)
    with pytest.raises(BytesExceeded):
        submit()
    small.refresh_from_db()
    deletion.delete(small)
    assert of(owner_id).bytes == Task.objects.aggregate(Sum("size"))["size__sum"]
    submit()
