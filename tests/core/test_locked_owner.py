"""One owner's locked quota is that owner's trouble: what concerns many goes on without it."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from taskyard.accounts.cleanup import delete_expired_tokens
from taskyard.core import bulk, deletion, leases, lifecycle, transitions
from taskyard.core.models import Quota, Task, Worker
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult, UserId
from tests.configured import configure
from tests.core.conftest import new_task
from tests.fake_worker import take_lease
from tests.people import new_user

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite locks no rows"),
]
# Less than the wait for a lock, and far more than the work.
AT_ONCE_SECONDS, LOCK_TIMEOUT = 8, "20s"


@pytest.fixture
def owners(settings: Any, db: None) -> list[UserId]:
    """In the order of their ids; the second of them will be in trouble."""
    configure(settings, ACTIVE_LIMIT=2 * lifecycle.BATCH_SIZE)
    configure(settings, SUBMIT_RATE=None)
    return sorted(new_user(f"user{n}").pk for n in range(3))


@pytest.fixture(autouse=True)
def worker_session(transactional_db: None) -> Iterator[None]:
    """Waits for a lock are bounded as in the sessions of a worker."""
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    yield
    connection.close()


@contextmanager
def locked(table: str, column: str, value: int) -> Iterator[None]:
    """Another transaction locks a row."""
    with closing(connection.copy()) as other:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(f"SELECT FROM {table} WHERE {column} = %s FOR UPDATE", [value])
            yield
        other.rollback()


def account_of(owner_id: UserId) -> Any:
    return locked(Quota._meta.db_table, "user_id", owner_id)


@contextmanager
def at_once() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < AT_ONCE_SECONDS


def lose(owners: list[UserId], *new: dict[str, Any], first: int = 0) -> None:
    """Each owner's tasks are held by a worker that is gone; ``first`` are the second owner's."""
    if first:
        lifecycle.submit_all(owners[1], [new_task(max_attempts=1)] * first)
    for owner_id in owners:
        lifecycle.submit_all(owner_id, [new_task(**options) for options in new])
    worker_id = take_lease("default")
    lifecycle.claim("default", {"sum": 10_000}, worker_id=worker_id, process=1)
    leases.end(worker_id)


def rescue() -> set[str]:
    return lifecycle.rescue(Task.objects.lost(Worker.objects.alive()))


def statuses(owners: list[UserId]) -> list[list[str]]:
    found = Task.objects.order_by("id").values_list("owner_id", "status")
    return [[status for owner_id, status in found if owner_id == each] for each in owners]


def active() -> list[int]:
    return list(Quota.objects.order_by("user_id").values_list("active", flat=True))


def test_a_rescue_leaves_the_ends_of_one_whose_account_is_locked(owners: list[UserId]) -> None:
    lose(owners, {"max_attempts": 1}, {"max_attempts": 3})
    with account_of(owners[1]):
        with at_once():
            assert rescue() == {"default"}
        done = ["error", "pending"]
        assert statuses(owners) == [done, ["in_progress", "pending"], done]
        assert active() == [1, 2, 1]
        with at_once():
            assert rescue() == set()
    rescue()
    assert statuses(owners) == [["error", "pending"]] * 3
    assert active() == [1, 1, 1]


def test_a_rescue_looks_behind_the_many_tasks_of_such_an_owner(owners: list[UserId]) -> None:
    lose(owners, {"max_attempts": 1}, first=lifecycle.BATCH_SIZE)
    with account_of(owners[1]):
        rescue()
        assert active() == [0, lifecycle.BATCH_SIZE + 1, 0]
    while Task.objects.lost(Worker.objects.alive()).exists():
        rescue()
    assert active() == [0, 0, 0]


def test_an_account_that_is_locked_again_and_again_is_met_all_the_same(
    owners: list[UserId],
) -> None:
    """As that of an owner who submits over several connections without a pause."""
    lose(owners[1:2], {"max_attempts": 1})
    over = threading.Event()

    def lock() -> None:
        with closing(connection.copy()) as other, other.cursor() as cursor:
            while not over.is_set():
                cursor.execute(
                    f"BEGIN; SELECT FROM {Quota._meta.db_table} WHERE user_id = '{owners[1]}' "
                    "FOR UPDATE; SELECT pg_sleep(0.01); COMMIT"
                )

    threads = [threading.Thread(target=lock) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            time.sleep(0.1)
            rescue()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert statuses(owners[1:2]) == [["error"]]
    assert active() == [0]


def test_a_cancel_of_many_leaves_what_waits_of_such_an_owner(owners: list[UserId]) -> None:
    lifecycle.submit_all(owners[1], [new_task()] * lifecycle.BATCH_SIZE)
    for owner_id in owners:
        lifecycle.submit(owner_id, new_task())
    with account_of(owners[1]), at_once():
        assert bulk.cancel(Task.objects.all(), by_id=None, seconds=5) == 2
        assert active() == [0, lifecycle.BATCH_SIZE + 1, 0]
    assert bulk.cancel(Task.objects.all(), by_id=None, seconds=5) == lifecycle.BATCH_SIZE + 1
    assert active() == [0, 0, 0]


def end(owners: list[UserId]) -> None:
    """A failed task of each."""
    for owner_id in owners:
        lifecycle.submit(owner_id, new_task())
    worker_id = take_lease("default")
    claimed, _ = lifecycle.claim("default", {"sum": 10}, worker_id=worker_id, process=1)
    transitions.finish([AttemptResult(task, Status.ERROR, error_code="no") for task in claimed])


def test_a_retry_of_many_leaves_such_an_owners(owners: list[UserId]) -> None:
    end(owners)
    with account_of(owners[1]):
        assert bulk.retry(Task.objects.all(), seconds=10) == 2
    assert bulk.retry(Task.objects.all(), seconds=10) == 1
    assert active() == [1, 1, 1]


def test_a_purge_leaves_such_an_owners(owners: list[UserId]) -> None:
    end(owners)
    Task.objects.update(created_at=Now() - timedelta(days=9), finished_at=Now() - timedelta(days=9))
    with account_of(owners[1]), at_once():
        assert deletion.purge(7) == (2, None)
        assert statuses(owners) == [[], ["error"], []]
    assert deletion.purge(7) == (1, None)
    assert not any(Quota.objects.values_list("error", flat=True))


def test_a_purge_goes_on_past_what_was_tried_again_by_a_task_that_is_locked(
    owners: list[UserId],
) -> None:
    end(owners)
    retried = Task.objects.get(owner_id=owners[1])
    again = lifecycle.retry(retried)
    Task.objects.filter(status="error").update(
        created_at=Now() - timedelta(days=9), finished_at=Now() - timedelta(days=9)
    )
    with locked(Task._meta.db_table, "id", again.id), at_once():
        deleted, beyond_id = [], 0
        while beyond_id is not None:
            count, beyond_id = deletion.purge(7, beyond_id=beyond_id, at_most=1)
            deleted.append(count)
    assert sum(deleted) == 2
    assert deletion.purge(7) == (1, None)
    assert Task.objects.get().retry_of_id is None


def test_a_purge_locks_accounts_after_all_tasks(owners: list[UserId]) -> None:
    """Also after the retries of deleted tasks, because their ends lock quotas too."""
    end(owners)
    Task.objects.update(created_at=Now() - timedelta(days=9), finished_at=Now() - timedelta(days=9))
    with CaptureQueriesContext(connection) as queries:
        assert deletion.purge(7) == (3, None)
    statements = [query["sql"] for query in queries]
    quotas = [n for n, sql in enumerate(statements) if '"taskyard_quota"' in sql]
    tasks = [n for n, sql in enumerate(statements) if "retry_of_id = NULL" in sql]
    assert tasks
    assert max(tasks) < min(quotas)


@pytest.mark.skipif(not apps.is_installed("taskyard.accounts"), reason="no tokens of ours")
def test_a_record_of_a_token_that_is_locked_waits_alone(owners: list[UserId]) -> None:
    long_ago = timezone.now() - timedelta(days=2)
    kept, _ = [
        OutstandingToken.objects.create(jti=name, token=name, expires_at=long_ago)
        for name in ("locked", "free")
    ]
    with locked(OutstandingToken._meta.db_table, "id", kept.pk), at_once():
        delete_expired_tokens()
        assert list(OutstandingToken.objects.values_list("jti", flat=True)) == ["locked"]
    delete_expired_tokens()
    assert not OutstandingToken.objects.exists()
