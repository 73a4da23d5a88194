"""The staff pages of queues, task types and errors; pausing a queue."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from taskyard.accounts.models import User
from taskyard.core import queues
from taskyard.core.models import AuditEntry, Task
from taskyard.core.states import Status
from taskyard.core.types import Traceback
from taskyard.web.staff import history_stats
from tests.api_client import ApiClient
from tests.fake_worker import FakeWorker
from tests.web.staff.test_overview import history

Submit = Callable[..., Task]


def test_a_paused_queue_waits_and_a_resumed_one_goes(
    page: Client, boss: User, submit: Submit, fake_worker: FakeWorker
) -> None:
    submit()
    for _ in range(2):
        assert page.post("/staff/queues/pause/", {"queue": "default"}).status_code == 302
    assert fake_worker.claim() == []
    (row,) = page.get("/staff/queues/").context["queues"]
    assert (row["paused"].paused_by, row["depth"].waiting) == (boss, 1)
    for _ in range(2):
        assert page.post("/staff/queues/resume/", {"queue": "default"}).status_code == 302
    assert len(fake_worker.claim()) == 1
    (row,) = page.get("/staff/queues/").context["queues"]
    assert (row["paused"], row["depth"].running) == (None, 1)
    lines = AuditEntry.objects.order_by("id").values_list("by", "action", "target")
    assert list(lines) == [
        (boss.pk, "pause_queue", "default"),
        (boss.pk, "resume_queue", "default"),
    ]


@pytest.mark.parametrize("sent", [{}, {"queue": ""}, {"queue": "nope"}, {"queue": "a\0"}])
@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_queue_that_is_none_is_not_there(page: Client, verb: str, sent: dict[str, str]) -> None:
    assert page.post(f"/staff/queues/{verb}/", sent).status_code == 404
    assert not AuditEntry.objects.exists()


def test_a_queue_of_types_that_are_gone_is_shown_and_can_be_paused(
    page: Client, submit: Submit
) -> None:
    submit("of-yesterday", queue="old & <b>")
    answer = page.get("/staff/queues/")
    names = {row["name"]: row["workers"] for row in answer.context["queues"]}
    assert names == {"default": 0, "old & <b>": 0}
    assert "old &amp; &lt;b&gt;" in answer.content.decode()
    assert "not installed" in answer.content.decode()
    assert page.post("/staff/queues/pause/", {"queue": "old & <b>"}).status_code == 302
    assert queues.paused() == {"old & <b>"}


def test_rates_are_of_the_last_hour(page: Client, owner: User, fake_worker: FakeWorker) -> None:
    history(owner, 120)
    history(owner, 9, finished_at=timezone.now() - timedelta(hours=3))
    history(owner, 5, status=Status.ERROR)
    context = page.get("/staff/queues/").context
    (queue,) = context["queues"]
    assert (queue["hour"].per_minute, queue["hour"].failed, queue["workers"]) == (2.0, 5, 1)
    hours = {row["name"]: row["hour"] for row in context["types"]}
    assert hours["sum"].completed == 120
    assert hours["sum"].ran.p50 == pytest.approx(1.0, abs=0.01)
    assert hours["countdown"].completed == 0


def test_the_api_and_the_admin_leave_lines_too(
    as_user: Callable[[User], ApiClient], new_user: Callable[..., User], submit: Submit
) -> None:
    as_user(new_user("staff", is_staff=True)).post("queues/default/pause/")
    root = new_user("root", is_staff=True, is_superuser=True)
    admin = Client()
    admin.force_login(root)
    admin.post("/admin/taskyard/pausedqueue/default/delete/", {"post": "yes"})
    task = submit()
    chosen = {"action": "cancel", "_selected_action": [task.pk]}
    admin.post("/admin/taskyard/task/", chosen)
    admin.post(f"/admin/taskyard/task/{task.pk}/delete/", {"post": "yes"})
    lines = AuditEntry.objects.order_by("id").values_list("by_name", "action", "target")
    assert list(lines) == [
        ("staff", "pause_queue", "default"),
        ("root", "resume_queue", "default"),
        ("root", "cancel_tasks", ""),
        ("root", "delete_task", str(task.pk)),
    ]


def test_errors_are_grouped_by_type_and_code(page: Client, owner: User) -> None:
    history(owner, 3, status=Status.ERROR, error_message="first")
    history(owner, 1, status=Status.ERROR, error_message="<b>last</b>")
    history(owner, 2, status=Status.ERROR, error_code="other")
    history(owner, 2, status=Status.CANCELLED, error_code="cancelled_at_once")
    week = timezone.now() - timedelta(days=3)
    history(owner, 5, status=Status.ERROR, task_type="old", finished_at=week)
    answer = page.get("/staff/errors/")
    groups = [(each.task_type, each.error_code, each.count) for each in answer.context["groups"]]
    assert groups == [("sum", "no", 4), ("sum", "other", 2)]
    latest = answer.context["groups"][0]
    assert latest.message == "<b>last</b>"
    assert "&lt;b&gt;last&lt;/b&gt;" in answer.content.decode()
    assert "?status=error&amp;task_type=sum&amp;error_code=no" in answer.content.decode()
    assert page.get("/staff/errors/?window=7d").context["count"] == 11
    assert page.get("/staff/errors/?window=nonsense").context["count"] == 6


def test_more_errors_than_are_counted_are_said_so(
    page: Client, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for count in (history_stats.recent_failures, history_stats.failures_with_exceptions):
        monkeypatch.setattr(count, "__kwdefaults__", {"most": 4})
    monkeypatch.setattr(history_stats, "MOST_FAILURES", 4)
    history(owner, 6, status=Status.ERROR)
    answer = page.get("/staff/errors/")
    assert answer.context["count"] == 4
    assert "There are more. The count begins at" in answer.content.decode()
    assert page.get("/staff/").context["past"].cut


def test_errors_of_one_type_are_told_apart_by_exception_and_place(
    page: Client, submit: Submit, fake_worker: FakeWorker
) -> None:
    def end(code: str, message: str, *where: str) -> None:
        submit()
        (claimed,) = fake_worker.claim()
        traceback = Traceback(*where, "") if where else None
        how = {"error_code": code, "error_message": message, "traceback": traceback}
        fake_worker.finish(claimed, Status.ERROR, **how)

    for _ in range(2):
        end(
            "exception", "ZeroDivisionError: division by zero", "ZeroDivisionError", "a.py:7 in one"
        )
    end("exception", "ZeroDivisionError: division by zero", "ZeroDivisionError", "b.py:1 in two")
    end("exception", "Odd: no", "Outer.Odd", "b.py:2 in two")
    end("exception", "KeyError: 'a: b'")
    end("exception", "KeyError")
    end("exception", "ValueError: KeyError: no")
    end("exception", "no type at all")
    end("timeout", "KeyError: of the author")
    answer = page.get("/staff/errors/")
    groups = {
        (each.error_code, each.exception, each.location): each for each in answer.context["groups"]
    }
    assert {key: group.count for key, group in groups.items()} == {
        ("exception", "ZeroDivisionError", "a.py:7 in one"): 2,
        ("exception", "ZeroDivisionError", "b.py:1 in two"): 1,
        ("exception", "Outer.Odd", "b.py:2 in two"): 1,
        ("exception", "KeyError", ""): 2,
        ("exception", "ValueError", ""): 1,
        ("exception", "", ""): 1,
        ("timeout", "", ""): 1,
    }
    assert "a.py:7 in one" in answer.text
    for (_, exception, _), group in groups.items():
        results = page.get(f"/staff/tasks/?{group.search}").context["results"].tasks
        assert len(results) == group.count or not exception
