"""Submits from the code of a project."""

import math
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import transaction

from taskyard import jobs, task_type
from taskyard.catalog.task_type import registry
from taskyard.core.models import Quota, Task
from taskyard.core.states import Priority, Status
from taskyard.core.types import UserId
from tests.configured import configure

pytestmark = pytest.mark.django_db
NUMBERS = {"numbers": [1, 2]}


@pytest.fixture
def owner(owner_id: UserId) -> Any:
    return get_user_model().objects.get(pk=owner_id)


@pytest.fixture
def anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task type that takes any value."""

    def anything(value: Any) -> None:
        pass

    monkeypatch.setattr(registry, "_types", dict(registry._types))
    task_type("anything")(anything)


def refused(name: str = "sum", input_data: Any = NUMBERS, **options: Any) -> list[str]:
    """The places of the errors."""
    with pytest.raises(jobs.InvalidInput) as caught:
        jobs.submit(name, input_data, **options)
    assert not Task.objects.exists()
    return [error.pointer for error in caught.value.field_errors]


def test_without_an_owner_it_is_a_system_task() -> None:
    task = jobs.get(jobs.submit("sum", NUMBERS).id)
    assert (task.owner_id, task.status, task.input_data) == (None, Status.PENDING, NUMBERS)
    assert task.ready
    assert not Quota.objects.exists()


def test_an_owners_task_takes_a_place_of_the_quota(owner: Any, settings: Any) -> None:
    configure(settings, ACTIVE_LIMIT=1)
    assert jobs.submit("sum", NUMBERS, owner=owner).owner_id == owner.pk
    with transaction.atomic(), pytest.raises(jobs.QuotaExceeded):
        jobs.submit("sum", NUMBERS, owner=owner)


@pytest.mark.parametrize("user", [AnonymousUser(), None])
def test_a_user_without_an_id_makes_no_system_task(user: Any) -> None:
    user = user or get_user_model()(pk=None)
    with pytest.raises(ValueError, match="no primary key"):
        jobs.submit("sum", NUMBERS, owner=user)


def test_the_options_of_a_create_are_kept() -> None:
    later = datetime(2100, 1, 1, tzinfo=UTC)
    task = jobs.get(
        jobs.submit(
            "sum",
            NUMBERS,
            run_at=later,
            priority="high",
            max_attempts=7,
            timeout=2.5,
            tags=("a", "b"),
        ).id
    )
    assert (task.run_at, task.wake_at, task.ready) == (later, later, False)
    assert (task.priority, task.max_attempts) == (Priority.HIGH, 7)
    assert (task.timeout_seconds, task.tags) == (2.5, ["a", "b"])
    delayed = jobs.submit("sum", NUMBERS, delay=60)
    assert delayed.run_at is not None
    assert (delayed.run_at - delayed.created_at).total_seconds() == 60


def test_the_type_and_the_input_are_validated() -> None:
    assert refused("no-such-type") == ["/task_type"]
    assert refused(input_data={"numbers": ["1"]}) == ["/input_data/numbers/0"]
    assert refused(input_data={"numbers": [1], "more": 1}) == ["/input_data/more"]


def test_the_options_are_validated() -> None:
    assert refused(max_attempts=11, priority="urgent") == ["/priority", "/max_attempts"]
    assert refused(run_at=datetime(2100, 1, 1)) == ["/run_at"]  # noqa: DTZ001
    assert refused(delay=1, run_at=datetime(2100, 1, 1, tzinfo=UTC)) == [""]
    assert refused(tags=["x" * 51]) == ["/tags/0"]


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, object(), {1, 2}, "half \ud800", "null \0", "x" * 300_000]
)
def test_an_input_that_is_not_json_is_refused(value: object, anything: None) -> None:
    (place,) = refused("anything", {"value": value})
    assert place in ("/input_data", "/input_data/value")


def test_an_input_is_kept_as_json(anything: None) -> None:
    key = uuid.uuid4()
    kept = jobs.get(jobs.submit("anything", {"value": {"key": key, "n": 2**70, "none": None}}).id)
    assert kept.input_data == {"value": {"key": str(key), "n": 2**70, "none": None}}


def test_a_rollback_removes_the_task() -> None:
    with transaction.atomic():
        jobs.submit("sum", NUMBERS)
        transaction.set_rollback(True)
    assert not Task.objects.exists()


def test_many_are_submitted_in_their_order_or_not_at_all() -> None:
    inputs = [{"numbers": [number]} for number in range(2500)]
    ids = jobs.submit_many("sum", inputs, tags=["many"])
    kept = Task.objects.order_by("id").values_list("id", "input_data")
    assert [(task_id, data["numbers"]) for task_id, data in kept] == [
        (task_id, [number]) for number, task_id in enumerate(ids)
    ]
    with pytest.raises(jobs.InvalidInput):
        jobs.submit_many("sum", [NUMBERS, {"numbers": "none"}])
    assert Task.objects.count() == 2500
    assert jobs.submit_many("sum", []) == []


def test_a_task_is_cancelled() -> None:
    task = jobs.submit("sum", NUMBERS)
    assert jobs.cancel(task.id).status == Status.CANCELLED
    Task.objects.update(status=Status.COMPLETED)
    with pytest.raises(jobs.NotCancellable):
        jobs.cancel(task.id)
    with pytest.raises(Task.DoesNotExist):
        jobs.get(task.id + 1)


def test_the_package_itself_loads_no_django() -> None:
    code = "import sys, taskyard; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
