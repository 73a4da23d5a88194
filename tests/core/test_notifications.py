"""What is sent at a commit: workers are notified of work, and streams of changes."""

from typing import Any

import pytest
from django.db import transaction

from taskyard.core import lifecycle, notifications
from taskyard.core.types import Change
from tests.core.conftest import new_task

pytestmark = pytest.mark.django_db(transaction=True)


def submit(queue: str = "default") -> int:
    return lifecycle.submit(None, new_task(queue=queue)).id


def submit_and_undo(queue: str) -> None:
    with transaction.atomic():
        submit(queue)
        transaction.set_rollback(True)


def test_a_transaction_sends_once(notified: list[str], published: list[Change]) -> None:
    with transaction.atomic():
        ids = [submit(queue) for queue in ("default", "reports", "default")]
        assert not notified
    assert sorted(notified) == ["default", "reports"]
    assert [task_id for _, task_id, _ in published] == ids


def test_a_rollback_sends_nothing(notified: list[str], published: list[Change]) -> None:
    submit_and_undo("default")
    assert not notified
    assert not published
    submit()
    assert notified == ["default"]


def test_the_rollback_of_a_savepoint_loses_nothing_of_the_others(notified: list[str]) -> None:
    with transaction.atomic():
        submit_and_undo("first")
        submit("second")
        with transaction.atomic():
            submit("third")
        submit_and_undo("fourth")
        submit("fifth")
    assert {"second", "third", "fifth"} <= set(notified)
    assert "first" not in notified


def test_each_transaction_sends_its_own(notified: list[str]) -> None:
    for queue in ("default", "reports"):
        with transaction.atomic():
            submit(queue)
    submit("mail")
    assert notified == ["default", "reports", "mail"]


def test_calls_at_the_commit_that_a_test_captures_are_all_sent(
    notified: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    with transaction.atomic():
        for queue in ("default", "reports"):
            with django_capture_on_commit_callbacks(execute=True):
                submit(queue)
        assert notified == ["default", "reports"]


def test_a_submit_in_a_call_at_the_commit_is_sent(notified: list[str]) -> None:
    with transaction.atomic():
        transaction.on_commit(lambda: submit("later"))
        submit("default")
    assert sorted(notified) == ["default", "later"]


def test_the_thread_of_a_web_process_sends_the_same(notified: list[str]) -> None:
    notifications.start()
    try:
        with transaction.atomic():
            submit("default")
            submit("reports")
    finally:
        notifications.stop()
    assert sorted(notified) == ["default", "reports"]
