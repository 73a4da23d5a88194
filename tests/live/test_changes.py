"""A reader gets every change between two moments once, in any order of commits."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, transaction

from taskyard.core import leases, lifecycle, transitions
from taskyard.core.engine import engine
from taskyard.core.models import Task
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult, ClaimedTask, NewTask, UserId
from taskyard.live import changes
from taskyard.live.changes import Position
from tests.configured import configure
from tests.fake_worker import run_in_transaction
from tests.people import new_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def submit(owner_id: UserId, settings: Any) -> Callable[[], Task]:
    configure(settings, ACTIVE_LIMIT=10_000)
    new = NewTask(task_type="sum", queue="default", input_data={"numbers": [1]})
    return lambda: lifecycle.submit(owner_id, new)


def ids(page: changes.ChangedTasks) -> list[int]:
    return [task.pk for task in page.tasks]


def touch(task: Task) -> None:
    Task.objects.filter(pk=task.pk).update(changed=engine().change())


def test_a_reader_begins_with_what_is_active_and_goes_on_with_what_changes(
    owner_id: UserId, submit: Callable[[], Task]
) -> None:
    first, second = submit(), submit()
    lifecycle.cancel(first.pk, by_id=None)
    page = changes.read_from(owner_id, None, None)
    assert ids(page) == [second.pk]
    assert ids(changes.read_next(owner_id, page.after)) == []
    third = submit()
    page = changes.read_next(owner_id, page.after)
    assert ids(page) == [third.pk]
    lifecycle.cancel(second.pk, by_id=None)
    assert ids(changes.read_next(owner_id, page.after)) == [second.pk]
    assert ids(changes.read_next(owner_id, page.after, third.pk)) == []


def test_nobody_is_told_of_the_tasks_of_another(
    owner_id: UserId, submit: Callable[[], Task]
) -> None:
    other_id = new_user("other").pk
    submit()
    page = changes.read_from(other_id, None, None)
    assert ids(page) == []
    submit()
    assert ids(changes.read_next(other_id, page.after)) == []
    assert len(ids(changes.read_from(owner_id, None, None))) == 2


@pytest.mark.parametrize("way", ["claimed", "fast path", "suspended"])
def test_an_end_is_told_however_it_came_and_a_nap_is_not(
    owner_id: UserId, submit: Callable[[], Task], way: str
) -> None:
    task = submit()
    if way == "fast path":
        position = changes.read_from(owner_id, None, None).after
        assert run_in_transaction("default", {"sum": 1}, completed) == (1, 1)
    else:
        worker_id = leases.take(concurrency=1, queues=[])
        claimed, _ = lifecycle.claim("default", {"sum": 1}, worker_id=worker_id, process=1)
        position = changes.read_from(owner_id, None, None).after
        if way == "suspended":
            nap = AttemptResult(
                claimed[0], Status.IN_PROGRESS, wake_at=datetime.now(UTC), resumes=True, slept=1
            )
            transitions.finish([nap])
        else:
            transitions.finish(completed(claimed))
    assert ids(changes.read_next(owner_id, position)) == ([] if way == "suspended" else [task.pk])


def completed(tasks: Sequence[ClaimedTask]) -> list[AttemptResult]:
    return [AttemptResult(task, Status.COMPLETED, b"1") for task in tasks]


def test_transactions_that_commit_out_of_order_are_each_told_once(
    owner_id: UserId, submit: Callable[[], Task]
) -> None:
    if connection.vendor != "postgresql":
        return  # with one writer at a time there is no other order
    early, late = submit(), submit()
    position = changes.read_from(owner_id, None, None).after
    numbered, may_commit = threading.Event(), threading.Event()

    def commit_last() -> None:
        try:
            with transaction.atomic():
                touch(early)
                numbered.set()
                assert may_commit.wait(10)
        finally:
            connection.close()

    thread = threading.Thread(target=commit_last)
    thread.start()
    try:
        assert numbered.wait(10)
        touch(late)
        page = changes.read_next(owner_id, position)
        assert ids(page) == [late.pk]
        assert changes.changed_owners([owner_id], str(page.after))[1] == {}
        may_commit.set()
        thread.join(10)
        early.refresh_from_db()
        late.refresh_from_db()
        assert early.changed < late.changed
        _, found = changes.changed_owners([owner_id], str(page.after))
        assert found == {owner_id: {early.changed}}
        page = changes.read_next(owner_id, page.after)
        assert ids(page) == [early.pk]
        assert ids(changes.read_next(owner_id, page.after)) == []
    finally:
        may_commit.set()
        thread.join(10)


def test_a_reader_cut_at_any_task_of_any_page_goes_on_with_the_next(
    owner_id: UserId, submit: Callable[[], Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "PAGE_SIZE", 3)
    begin = changes.read_from(owner_id, None, None).after
    tasks = [submit() for _ in range(7)]
    for first in (Position(), begin):
        seen, position = [], first
        while len(seen) < 7:
            page = changes.read_from(owner_id, Position.parse(str(position)), None)
            seen.append(page.tasks[0].pk)
            position = page.after if len(page.tasks) == 1 else page.position_at(page.tasks[0].pk)
        assert seen == [task.pk for task in tasks]
        touch(tasks[2])
        rest = []
        while True:
            page = changes.read_next(owner_id, position)
            rest += ids(page)
            position = page.after
            if page.is_last and not page.before.upto:
                break
        assert rest == [tasks[2].pk]


def test_a_page_cut_in_the_middle_tells_later_changes_once(
    owner_id: UserId, submit: Callable[[], Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = changes.read_from(owner_id, None, None).after
    one, two, three = submit(), submit(), submit()
    page = changes.read_next(owner_id, begin)
    position = page.position_at(one.pk)
    touch(one)
    touch(three)
    seen = []
    for _ in range(3):
        page = changes.read_next(owner_id, position)
        seen += ids(page)
        position = page.after
    assert seen == [two.pk, one.pk, three.pk]


def test_owners_are_read_apart(owner_id: UserId, submit: Callable[[], Task]) -> None:
    other_id = new_user("other").pk
    submit()
    assert ids(changes.read_from(other_id, Position("5:5:"), None)) == []
    until = changes.now()
    task = submit()
    task.refresh_from_db()
    found = changes.changed_owners([owner_id, other_id], until)[1]
    assert found == {owner_id: {task.changed}}


@pytest.mark.parametrize(
    "text", ["", "x", "1:", "1:2", "1::", "1:2:3,", "-1", "1/2", "1/2/x", "1\n", "9" * 20, "٣"]
)
def test_what_was_never_written_is_no_position(text: str) -> None:
    assert Position.parse(text) is None


@pytest.mark.parametrize("text", ["7", "5:9:", "5:9:6,7", "5:9:/5:12:10/33", "/5:9:/33", "7/9/1"])
def test_a_position_is_read_as_it_was_written(text: str) -> None:
    position = Position.parse(text)
    assert position is not None
    assert str(position) == text


def test_a_moment_shows_what_had_committed() -> None:
    shown = [changed for changed in range(3, 12) if changes.shows("5:9:6,7", changed)]
    assert shown == [3, 4, 5, 8]
    assert [changes.shows("4", changed) for changed in (4, 5)] == [True, False]


def test_a_reader_of_many_pages_misses_nothing(
    owner_id: UserId, submit: Callable[[], Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "PAGE_SIZE", 2)
    start = changes.read_from(owner_id, None, None).after
    wanted = [submit().pk for _ in range(5)]
    page = changes.read_next(owner_id, start)
    read = ids(page)
    while not page.is_last:
        page = changes.read_next(owner_id, page.after)
        read += ids(page)
    assert read == wanted
