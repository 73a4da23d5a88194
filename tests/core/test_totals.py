"""The counts of created and ended tasks do not go down when tasks are deleted."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from taskyard.core import deletion, lifecycle
from taskyard.core.models import Task
from taskyard.core.totals import totals
from taskyard.core.types import UserId

pytestmark = pytest.mark.django_db


def test_deleted_tasks_and_users_stay_counted(
    submit: Callable[..., Task], owner_id: UserId, django_user_model: Any
) -> None:
    before = totals()
    tasks = [submit() for _ in range(3)]
    for task in tasks[:2]:
        lifecycle.cancel(task.id, by_id=owner_id)
    expected = replace(
        before,
        created=before.created + 3,
        ended=before.ended | {"cancelled": before.ended["cancelled"] + 2},
    )
    assert totals() == expected
    tasks[0].refresh_from_db()
    deletion.delete(tasks[0])
    assert totals() == expected
    django_user_model.objects.get(pk=owner_id).delete()
    assert not Task.objects.exists()
    assert totals() == expected
