"""Attempts and log lines of a task."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskyard.core import history, lifecycle
from taskyard.core.models import AttemptTraceback, Task
from taskyard.core.states import Status
from taskyard.core.types import Line, LossReason, Traceback
from tests.api_client import ROOT, SITE, ApiClient
from tests.configured import configure
from tests.fake_worker import FakeWorker

BEGAN = datetime(2030, 1, 1, tzinfo=UTC)


def said(api: ApiClient, count: int, *, dropped: int = 0) -> int:
    task_id = int(api.create().json()["id"])
    lines = [Line(BEGAN + timedelta(seconds=n), f"line {n}") for n in range(count)]
    history.write_lines(task_id, 1, lines, kept=0, dropped=dropped)
    return task_id


def messages(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [line["message"] for line in answer.json()["results"]]


def test_a_traceback_is_kept_with_its_attempt_and_told_if_the_operator_says_so(
    api: ApiClient, fake_worker: FakeWorker, settings: Any
) -> None:
    task_id = api.create().json()["id"]
    for status in (Status.PENDING, Status.ERROR):
        trace = Traceback("ValueError", "a.py:1 in f", f"ValueError: {status}")
        fake_worker.end(
            status, error_code="exception", error_message="ValueError: no", traceback=trace
        )

    def told() -> list[str | None]:
        answer = api.get(f"tasks/{task_id}/attempts/").json()
        return [attempt["traceback"] for attempt in answer["results"]]

    assert told() == [None, None]
    configure(settings, SHOW_TRACEBACKS=True)
    assert told() == ["ValueError: pending", "ValueError: error"]


def test_a_late_ending_leaves_no_traceback(api: ApiClient, fake_worker: FakeWorker) -> None:
    api.create()
    (late,) = fake_worker.claim()
    lifecycle.rescue(Task.objects.all(), lambda task: LossReason.LOST)
    trace = Traceback("ValueError", "a.py:1 in f", "ValueError: no")
    assert not fake_worker.finish(late, Status.ERROR, error_code="exception", traceback=trace)
    assert not AttemptTraceback.objects.exists()


def test_a_task_that_has_not_begun_has_no_history(api: ApiClient) -> None:
    task_id = api.create().json()["id"]
    empty = {"count": 0, "next": None, "previous": None, "results": []}
    assert api.get(f"tasks/{task_id}/attempts/").json() == empty
    assert api.get(f"tasks/{task_id}/logs/").json() == empty


@pytest.mark.django_db(transaction=True)  # inside one transaction, time stands still
def test_attempts_stand_in_order_and_say_how_each_ended(
    api: ApiClient, fake_worker: FakeWorker
) -> None:
    task_id = api.create().json()["id"]
    fake_worker.end(Status.PENDING, error_code="exception", error_message="ValueError: page 7")
    fake_worker.claim()
    lifecycle.rescue(Task.objects.all(), lambda task: LossReason.LOST)
    (claimed,) = fake_worker.claim()
    running = api.get(f"tasks/{task_id}/attempts/").json()
    assert running["count"] == 3
    assert [(each["number"], each["outcome"]) for each in running["results"]] == [
        (1, "failed"), (2, "lost"), (3, "running"),
    ]  # fmt: skip
    first, second, third = running["results"]
    assert first["error"] == {"code": "exception", "message": "ValueError: page 7"}
    assert second["error"] == {
        "code": "worker_lost", "message": "Воркер пропал, пока выполнял задачу.",
    }  # fmt: skip
    assert (third["error"], third["ended_at"]) == (None, None)
    assert first["started_at"] <= first["ended_at"] <= second["started_at"]
    fake_worker.finish(claimed, Status.COMPLETED, result="6")
    ended = api.get(f"tasks/{task_id}/attempts/").json()["results"]
    assert ended[:2] == [first, second]
    assert ended[2]["outcome"] == "completed"
    assert ended[2]["ended_at"]


def test_attempts_have_pages_too(api: ApiClient, fake_worker: FakeWorker) -> None:
    task_id = api.create().json()["id"]
    for _ in range(2):
        fake_worker.end(Status.PENDING, error_code="exception")
    page = api.get(f"tasks/{task_id}/attempts/?page_size=1").json()
    assert [each["number"] for each in page["results"]] == [1]
    assert page["next"].endswith(f"{ROOT}tasks/{task_id}/attempts/?page=2&page_size=1")


def test_lines_come_in_order_and_in_pages(api: ApiClient) -> None:
    task_id = said(api, 250)
    first = api.get(f"tasks/{task_id}/logs/")
    assert messages(first) == [f"line {n}" for n in range(100)]
    assert first.json()["count"] == 250
    assert first.json()["results"][1] == {
        "at": "2030-01-01T00:00:01Z", "attempt": 1,
        "level": None, "message": "line 1", "dropped": 0,
    }  # fmt: skip
    third = api.get(f"tasks/{task_id}/logs/?page=3")
    assert messages(third) == [f"line {n}" for n in range(200, 250)]
    assert third.json()["next"] is None
    assert api.get(f"tasks/{task_id}/logs/?page=4").status_code == 404
    assert len(messages(api.get(f"tasks/{task_id}/logs/?page_size=1000"))) == 250


def test_who_has_read_so_many_lines_gets_those_behind_them(api: ApiClient) -> None:
    task_id = said(api, 25)
    seen: list[str] = []
    address = f"tasks/{task_id}/logs/?after=0&page_size=10"
    while address:
        answer = api.get(address)
        seen += messages(answer)
        assert answer.json()["count"] is None
        address = (answer.json()["next"] or "").removeprefix(SITE)
    assert seen == [f"line {n}" for n in range(25)]
    assert messages(api.get(f"tasks/{task_id}/logs/?after=25")) == []
    history.write_lines(task_id, 2, [Line(BEGAN, "more")], kept=25, dropped=0)
    assert messages(api.get(f"tasks/{task_id}/logs/?after=25")) == ["more"]


def test_a_gap_is_seen_where_it_is_and_how_wide_it_is(api: ApiClient) -> None:
    task_id = said(api, history.LINES_KEPT + 7, dropped=3)
    lines = api.get(f"tasks/{task_id}/logs/?page_size=1000").json()["results"]
    assert len(lines) == history.LINES_KEPT
    assert [line["dropped"] for line in lines if line["dropped"]] == [10]
    assert lines[-1]["dropped"] == 10


@pytest.mark.parametrize("path", ["logs", "attempts"])
@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("page=0", "page"), ("page=x", "page"), ("page_size=0", "page_size"),
        ("page_size=1001", "page_size"), ("after=-1", "after"), ("after=x", "after"),
        ("after=9999999999999999999", "after"), ("after=1&page=1", "after"), ("tag=a", "tag"),
        ("page=1&page=1", "page"), ("page=%00", "page"), ("limit=1001", "limit"),
        ("offset=-1", "offset"), ("offset=1&after=1", "offset"), ("format=xml", "format"),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_refused_at_its_name(
    api: ApiClient, path: str, query: str, parameter: str
) -> None:
    task_id = api.create().json()["id"]
    refused = api.get(f"tasks/{task_id}/{path}/?{query}")
    assert refused.status_code == 400
    assert list(refused.json()) == [parameter]


def test_pages_are_asked_for_as_in_every_list(api: ApiClient, fake_worker: FakeWorker) -> None:
    task_id = said(api, 25)
    lines = [f"line {n}" for n in range(25)]
    logs = f"tasks/{task_id}/logs/"
    assert messages(api.get(f"{logs}?_=17&format=json&page=&page_size=&after=")) == lines
    last = api.get(f"{logs}?page=last&page_size=10")
    assert messages(last) == lines[20:]
    assert last.json()["previous"].endswith("/logs/?page=2&page_size=10")
    part = api.get(f"{logs}?limit=10&offset=5")
    assert messages(part) == lines[5:15]
    assert part.json()["next"].endswith("/logs/?limit=10&offset=15")
    assert len(messages(api.get(f"{logs}?limit=1000"))) == 25
    attempts = f"tasks/{task_id}/attempts/"
    for _ in range(2):
        fake_worker.end(Status.PENDING, error_code="exception")
    for query, numbers in (("limit=1", [1]), ("page=last&limit=1", [2]), ("offset=1", [2])):
        page = api.get(f"{attempts}?{query}").json()
        assert [each["number"] for each in page["results"]] == numbers, query
