"""Owners are users of any model: only their key and their name are read."""

from collections.abc import Callable

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext

from taskyard.core import history, idempotency, lifecycle, quotas, transitions
from taskyard.core.models import Quota, Task
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult, ClaimedTask, UserId
from tests.core.conftest import new_task

pytestmark = pytest.mark.django_db
Claim = Callable[..., list[ClaimedTask]]


def test_no_statement_reads_more_of_a_user(
    submit: Callable[..., Task], claim: Claim, owner_id: UserId
) -> None:
    with CaptureQueriesContext(connection) as queries:
        task = submit()
        quotas.limits(owner_id)
        quotas.change_limit(owner_id, 9, by_id=owner_id)
        owner = history.about(task.id).owner
        transitions.finish([AttemptResult(one, Status.ERROR, error_code="no") for one in claim()])
        lifecycle.retry(Task.objects.get(id=task.id))
        idempotency.submit_once(owner_id, "key", "print", [new_task()])
    users = get_user_model()._meta.db_table
    read = [query["sql"] for query in queries if users in query["sql"]]
    assert read
    for column in ("password", "is_active", "last_login"):
        assert not [sql for sql in read if column in sql]
    assert owner == (owner_id, get_user_model().objects.get(pk=owner_id).get_username())


def test_ids_are_those_of_the_user_model(
    submit: Callable[..., Task], claim: Claim, owner_id: UserId
) -> None:
    task = submit()
    assert task.owner_id == owner_id
    found = Task.objects.get_owned(owner_id, task.id)
    assert found is not None
    assert type(found.owner_id) is type(owner_id)
    rows, _ = lifecycle.claim("default", {"sum": 1}, worker_id=0, process=1)
    assert not rows  # a worker without a lease
    assert transitions.finish([AttemptResult(one, Status.COMPLETED, b"1") for one in claim()])
    assert Quota.objects.get().pk == owner_id


def test_a_system_task_has_no_owner_for_its_handler() -> None:
    assert history.about(lifecycle.submit(None, new_task()).id).owner is None
