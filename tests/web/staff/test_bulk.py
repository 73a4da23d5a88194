"""Cancel and retry all tasks that match: confirmation, action, audit line."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from taskyard.accounts.models import User
from taskyard.core import bulk, lifecycle
from taskyard.core.models import AuditEntry, Quota, Task
from taskyard.core.states import Status
from taskyard.core.types import NewTask
from tests.configured import configure
from tests.fake_worker import FakeWorker
from tests.web.staff.test_overview import history

Submit = Callable[..., Task]


@pytest.fixture(autouse=True)
def many_places(settings: object) -> None:
    configure(settings, ACTIVE_LIMIT=1_000_000)


def confirm(page: Client, verb: str, query: str = "") -> tuple[int, dict[str, str]]:
    """The number that the confirmation shows, and the fields that its form sends."""
    answer = page.get(f"/staff/tasks/{verb}/?{query}")
    assert answer.status_code == 200
    context = answer.context
    sent = {name: str(value) for name, value in context["fields"]} | {"until": context["until"]}
    for name, value in sent.items() if context["count"] else ():
        assert f'type="hidden" name="{name}" value="{value}"' in answer.content.decode()
    return context["count"], sent


def said(answer: object) -> list[str]:
    return [str(each) for each in answer.context["messages"]]  # type: ignore[attr-defined]


def test_cancel_ends_what_waits_and_asks_what_runs(
    page: Client, boss: User, submit: Submit, fake_worker: FakeWorker
) -> None:
    done = submit()
    fake_worker.end(Status.COMPLETED)
    running = submit()
    fake_worker.claim()
    waiting, later = submit(), submit(run_at=timezone.now() + timedelta(hours=1))
    untouched = submit("countdown", input_data={"seconds": 5})
    count, sent = confirm(page, "cancel", "task_type=sum")
    assert count == 3
    assert Task.objects.filter(status=Status.CANCELLED).count() == 0
    answer = page.post("/staff/tasks/cancel/", sent, follow=True)
    assert said(answer) == ["Cancelled, or asked to stop: 3."]
    statuses = dict(Task.objects.values_list("id", "status"))
    assert statuses == {
        done.pk: Status.COMPLETED,
        running.pk: Status.IN_PROGRESS,
        waiting.pk: Status.CANCELLED,
        later.pk: Status.CANCELLED,
        untouched.pk: Status.PENDING,
    }
    asked = Task.objects.get(pk=running.pk)
    assert asked.cancel_requested_at is not None
    assert asked.cancel_requested_by == boss
    account = Quota.objects.get(user__username="owner")
    assert (account.active, account.cancelled) == (2, 2)
    line = AuditEntry.objects.get()
    assert (line.by, line.by_name, line.action) == (boss, "boss", "cancel_tasks")
    assert line.details == {"count": 3, "more": False, "search": {"task_type": "sum"}}
    assert "asked to cancel tasks" in page.get("/staff/audit/").content.decode()
    assert confirm(page, "cancel", "task_type=sum")[0] == 0


def test_the_entry_has_no_text_of_a_message(
    page: Client, submit: Submit, fake_worker: FakeWorker
) -> None:
    submit()
    fake_worker.end(
        Status.ERROR, error_code="exception", error_message="ValueError: for ann@example.org"
    )
    sent = confirm(page, "retry", "exception=ValueError: for ann@example.org&status=error")[1]
    page.post("/staff/tasks/retry/", sent)
    entry = AuditEntry.objects.get()
    assert entry.details["search"] == {"status": "error", "exception": "ValueError"}
    assert entry.target == "status=error, exception=ValueError"


def two_batches_and_a_half(owner: User) -> int:
    """Submit this many tasks and return the number."""
    new = NewTask(task_type="sum", queue="default", input_data={"numbers": [1, 2]})
    return len(lifecycle.submit_all(owner.pk, [new] * (lifecycle.BATCH_SIZE * 5 // 2)))


def test_cancel_takes_more_than_one_batch(
    page: Client, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskyard.web.staff.views.bulk.SECONDS", 60.0)
    submitted = two_batches_and_a_half(owner)
    count, sent = confirm(page, "cancel")
    assert count == submitted
    page.post("/staff/tasks/cancel/", sent)
    assert Task.objects.filter(status=Status.CANCELLED).count() == submitted
    assert Quota.objects.get(user__username="owner").active == 0


def test_what_its_time_does_not_allow_is_left_and_can_be_gone_on_with(
    page: Client, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskyard.web.staff.views.bulk.SECONDS", 0.0)
    submitted = two_batches_and_a_half(owner)
    counts = [submitted - done * lifecycle.BATCH_SIZE for done in range(3)]
    _, sent = confirm(page, "cancel", "task_type=sum")
    answer = page.post("/staff/tasks/cancel/", sent, follow=True)
    assert said(answer) == [f"Cancelled, or asked to stop: {lifecycle.BATCH_SIZE}."]
    assert answer.context["count"] == counts[1]
    assert answer.request["PATH_INFO"] == "/staff/tasks/cancel/"
    for _ in range(2):
        _, sent = confirm(page, "cancel", "task_type=sum")
        page.post("/staff/tasks/cancel/", sent)
    assert Task.objects.filter(status=Status.CANCELLED).count() == submitted
    assert [line.details["count"] for line in AuditEntry.objects.order_by("id")] == counts


def test_what_came_after_the_number_is_not_meant(page: Client, submit: Submit) -> None:
    old = submit()
    count, sent = confirm(page, "cancel")
    new = submit()
    # A test is one transaction, in which the time of PostgreSQL does not advance.
    Task.objects.filter(pk=new.pk).update(created_at=timezone.now())
    page.post("/staff/tasks/cancel/", sent)
    statuses = dict(Task.objects.values_list("id", "status"))
    assert (count, statuses) == (1, {old.pk: Status.CANCELLED, new.pk: Status.PENDING})


def test_retry_makes_new_tasks_of_what_failed_and_once(
    page: Client, boss: User, submit: Submit, fake_worker: FakeWorker
) -> None:
    failed = [submit(tags=("vip",)) for _ in range(3)]
    fake_worker.end(Status.ERROR, error_code="no_funds", error_message="no")
    submit()
    fake_worker.end(Status.COMPLETED)
    count, sent = confirm(page, "retry", "error_code=no_funds")
    assert (count, Task.objects.count()) == (3, 4)
    answer = page.post("/staff/tasks/retry/", sent, follow=True)
    assert said(answer) == ["Submitted again: 3."]
    again = Task.objects.filter(retry_of__isnull=False)
    assert {task.retry_of_id for task in again} == {task.pk for task in failed}
    assert {(task.owner.username, *task.tags) for task in again} == {("owner", "vip")}
    line = AuditEntry.objects.get()
    assert (line.by, line.action, line.details["count"]) == (boss, "retry_tasks", 3)
    assert confirm(page, "retry", "error_code=no_funds")[0] == 0
    page.post("/staff/tasks/retry/", sent)
    assert Task.objects.count() == 7
    assert AuditEntry.objects.count() == 1


def test_retry_takes_no_place_that_is_not_free(
    page: Client, owner: User, new_user: Callable[..., User]
) -> None:
    history(owner, 5, status=Status.ERROR)
    history(new_user("other"), 2, status=Status.ERROR)
    Quota.objects.filter(user=owner).update(active_limit=2)
    count, sent = confirm(page, "retry", "status=error")
    assert count == 7
    answer = page.post("/staff/tasks/retry/", sent, follow=True)
    assert said(answer) == ["Submitted again: 4."]
    assert answer.context["count"] == 3
    assert Quota.objects.get(user=owner).active == 2
    _, sent = confirm(page, "retry", "status=error")
    answer = page.post("/staff/tasks/retry/", sent, follow=True)
    assert said(answer) == [
        "Submitted again: 0.",
        "The owners of the remaining tasks have reached their limits, or are busy.",
    ]


def test_retry_goes_on_over_more_than_one_batch(
    page: Client, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskyard.web.staff.views.bulk.SECONDS", 60.0)
    history(owner, bulk.BATCH + 1, status=Status.ERROR)
    _, sent = confirm(page, "retry", "status=error")
    page.post("/staff/tasks/retry/", sent)
    assert Task.objects.filter(retry_of__isnull=False).count() == bulk.BATCH + 1


def test_what_failed_again_meanwhile_is_not_retried_in_a_circle(page: Client, owner: User) -> None:
    history(owner, 2, status=Status.ERROR)
    _, sent = confirm(page, "retry", "status=error")
    history(owner, 3, status=Status.ERROR, finished_at=timezone.now() + timedelta(seconds=5))
    page.post("/staff/tasks/retry/", sent)
    assert Task.objects.filter(retry_of__isnull=False).count() == 2


def test_a_type_that_is_gone_is_not_retried(page: Client, owner: User) -> None:
    history(owner, 2, status=Status.ERROR, task_type="of-yesterday")
    assert confirm(page, "retry", "status=error")[0] == 0


@pytest.mark.parametrize("verb", ["cancel", "retry"])
@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"until": ""},
        {"until": "yesterday"},
        {"until": "2026-01-01T00:00:00"},
        {"until": "0001-01-01T00:00:00+23:59"},
        {"until": "2099-01-01T00:00:00+00:00", "id": "x"},
        {"until": "2099-01-01T00:00:00+00:00", "tag": "a\0b"},
        {"until": "2099-01-01T00:00:00+00:00", "status": "lost"},
    ],
)
def test_a_form_that_is_not_ours_does_nothing(
    page: Client, submit: Submit, verb: str, sent: dict[str, str]
) -> None:
    submit()
    assert page.post(f"/staff/tasks/{verb}/", sent).status_code == 400
    assert Task.objects.get().status == Status.PENDING
    assert not AuditEntry.objects.exists()


def test_a_number_beyond_counting_is_said_so(
    page: Client, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskyard.web.staff.views.bulk.MOST_COUNTED", 3)
    for _ in range(5):
        submit()
    answer = page.get("/staff/tasks/cancel/")
    assert (answer.context["count"], answer.context["more"]) == (3, True)
    page.post("/staff/tasks/cancel/", {"until": answer.context["until"]})
    assert Task.objects.filter(status=Status.CANCELLED).count() == 5
