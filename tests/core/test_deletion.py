"""Deleting what has ended: the owner's counts follow, and a purge looks at a bounded part."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now

from taskyard.core import deletion, lifecycle, transitions
from taskyard.core.engine import _delete_statements
from taskyard.core.models import Quota, Task
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult, ClaimedTask, UserId

pytestmark = pytest.mark.django_db


def counts(owner_id: UserId) -> dict[str, int]:
    quota = Quota.objects.get(user_id=owner_id)
    return {name: getattr(quota, name) for name in ("active", "completed", "error", "cancelled")}


def test_every_ending_is_counted_and_every_deletion_too(
    submit: Callable[..., Task], claim: Callable[..., list[ClaimedTask]], owner_id: UserId
) -> None:
    for _ in range(4):
        submit()
    done, failed, *_ = claim(sum=2)
    transitions.finish(
        [AttemptResult(done, Status.COMPLETED), AttemptResult(failed, Status.ERROR, "null", "x")]
    )
    cancelled = lifecycle.cancel(Task.objects.filter(ready=True)[0].id, by_id=None)
    assert counts(owner_id) == {"active": 1, "completed": 1, "error": 1, "cancelled": 1}
    deletion.delete(cancelled)
    deletion.delete(Task.objects.get(id=failed.id))
    assert counts(owner_id) == {"active": 1, "completed": 1, "error": 0, "cancelled": 0}


def test_a_purge_goes_on_where_it_was(
    submit: Callable[..., Task],
    claim: Callable[..., list[ClaimedTask]],
    owner_id: UserId,
) -> None:
    ids = [submit().id for _ in range(5)]
    transitions.finish([AttemptResult(task, Status.COMPLETED) for task in claim()[:4]])
    long_ago = Now() - timedelta(days=9)
    Task.objects.filter(id__in=ids[:4]).update(created_at=long_ago)
    Task.objects.filter(id__in=ids[1:4]).update(finished_at=long_ago)
    first, at = deletion.purge(7, at_most=2)
    assert (first, at) == (1, ids[1])
    assert deletion.purge(7, beyond_id=ids[1], at_most=2) == (2, ids[3])
    assert deletion.purge(7, beyond_id=ids[3], at_most=2) == (0, None)
    assert sorted(Task.objects.values_list("id", flat=True)) == [ids[0], ids[4]]
    assert counts(owner_id)["completed"] == 1


def test_every_row_of_ours_that_refers_to_a_task_goes_with_it() -> None:
    referring = set()
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            relations = connection.introspection.get_relations(cursor, table)
            referring |= {
                (table, column)
                for column, (_, target, *_) in relations.items()
                if target == Task._meta.db_table and table.startswith("taskyard_")
            }
    assert len(referring) > 3
    statements = "; ".join(
        [*_delete_statements(of_files=True), *_delete_statements(of_files=False)]
    )
    for table, column in referring:
        assert re.search(rf"(UPDATE|DELETE FROM) {table} .*\b{column} ", statements), table
