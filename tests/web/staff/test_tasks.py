"""The staff search of tasks, its pages, and the page of a task."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from taskyard.accounts.models import User
from taskyard.core.models import LogLine, Task
from taskyard.core.states import Status
from taskyard.core.types import Traceback
from taskyard.web.staff import search
from tests.fake_worker import FakeWorker
from tests.web.staff.test_overview import history

Submit = Callable[..., Task]


def found(page: Client, query: str) -> list[int]:
    answer = page.get(f"/staff/tasks/?{query}")
    assert answer.status_code == 200
    return [task.pk for task in answer.context["results"].tasks]


def test_each_field_narrows(
    page: Client, submit: Submit, fake_worker: FakeWorker, new_user: Callable[..., User]
) -> None:
    bad = submit()
    fake_worker.end(Status.ERROR, error_code="no_funds", error_message="no")
    tagged = submit(tags=("a b", "vip"))
    other = submit("countdown", by=new_user("Somebody"), input_data={"seconds": 5})
    elsewhere = submit(queue="mail")
    assert found(page, "") == [elsewhere.pk, other.pk, tagged.pk, bad.pk]
    assert found(page, f"id={tagged.pk}") == [tagged.pk]
    assert found(page, "owner=SOMEBODY") == [other.pk]
    assert found(page, "owner=nobody") == []
    assert found(page, "task_type=countdown") == [other.pk]
    assert found(page, "status=error") == [bad.pk]
    assert found(page, "status=pending&owner=owner") == [elsewhere.pk, tagged.pk]
    assert found(page, "tag=a+b") == [tagged.pk]
    assert found(page, "tag=a") == []
    assert found(page, "error_code=no_funds") == [bad.pk]
    assert found(page, "queue=mail") == [elsewhere.pk]
    assert found(page, "queue=mail&tag=vip") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("id=x", "id"),
        ("id=0", "id"),
        ("id=99999999999999999999", "id"),
        ("status=lost", "status"),
        ("tag=" + "x" * 51, "tag"),
    ],
)
def test_what_cannot_be_asked_is_said_at_its_field(page: Client, query: str, field: str) -> None:
    answer = page.get(f"/staff/tasks/?{query}")
    assert answer.status_code == 400
    text = answer.content.decode()
    assert f'aria-describedby="id_{field}-errors"' in text
    assert f'id="id_{field}-errors"' in text
    assert list(answer.context["form"].errors) == [field]


@pytest.mark.parametrize("before", ["x", "-1", "99999999999999999999", "१"])
def test_a_place_that_is_none_is_not_there(page: Client, before: str) -> None:
    assert page.get("/staff/tasks/", {"before": before}).status_code == 404


def test_pages_go_on_to_the_end(page: Client, owner: User) -> None:
    history(owner, search.PAGE_SIZE * 2 + 3, tags=["x"])
    seen: list[int] = []
    query = "tag=x"
    for _ in range(3):
        answer = page.get(f"/staff/tasks/?{query}")
        seen += [task.pk for task in answer.context["results"].tasks]
        older = answer.context["results"].older
        query = f"tag=x&before={older}"
        if older:
            assert f"?tag=x&amp;before={older}" in answer.content.decode()
    assert older is None
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == search.PAGE_SIZE * 2 + 3


def test_a_page_looks_no_further_than_it_may_and_says_so(
    page: Client, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "SEARCH_LIMIT", 20)
    history(owner, 1, tags=["rare"])
    history(owner, 50)
    answer = page.get("/staff/tasks/?tag=rare")
    assert answer.context["results"].tasks == []
    assert "Search further" in answer.content.decode()
    pages = 1
    while answer.context["results"].older:
        answer = page.get(f"/staff/tasks/?tag=rare&before={answer.context['results'].older}")
        pages += 1
        tasks = answer.context["results"].tasks
        if tasks:
            break
    assert (len(tasks), pages) == (1, 3)


def test_the_questions_are_as_many_however_many_are_found(page: Client, owner: User) -> None:
    counts = []
    for _ in range(2):
        history(owner, 20)
        with CaptureQueriesContext(connection) as asked:
            page.get("/staff/tasks/?owner=owner")
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 8


EVIL = "<img src=x onerror=alert(1)>"


def test_strings_stay_text(page: Client, submit: Submit, fake_worker: FakeWorker) -> None:
    task = submit(tags=(EVIL,), input_data={"numbers": [1], "note": EVIL})
    fake_worker.end(Status.ERROR, error_code=EVIL, error_message=EVIL)
    LogLine.objects.create(task=task, attempt=1, at=task.created_at, message=EVIL)
    for address in (
        "tasks/",
        f"tasks/{task.pk}/",
        f"tasks/?tag={EVIL}&owner={EVIL}&task_type={EVIL}",
        f"tasks/retry/?error_code={EVIL}",
        f"users/?name={EVIL}",
        "errors/",
    ):
        text = page.get(f"/staff/{address}").content.decode()
        assert "<img" not in text, address
        assert "&lt;img src=x onerror=alert(1)&gt;" in text, address


def test_one_task_is_shown_whole(page: Client, submit: Submit, fake_worker: FakeWorker) -> None:
    task = submit(input_data={"numbers": [9007199254740993]}, tags=("vip",))
    fake_worker.end(Status.COMPLETED, result='{"result": 9007199254740993}')
    for number in range(3):
        LogLine.objects.create(
            task=task, attempt=1, at=task.created_at, message=f"line {number}", dropped=number
        )
    answer = page.get(f"/staff/tasks/{task.pk}/")
    text = answer.content.decode()
    assert text.count("9007199254740993") == 2
    assert [line.message for line in answer.context["lines"]] == ["line 0", "line 1", "line 2"]
    assert "2 lines are missing here" in text
    assert [attempt.outcome for attempt in answer.context["attempts"]] == ["completed"]


def test_staff_reads_the_traceback_of_each_attempt(
    page: Client, submit: Submit, fake_worker: FakeWorker
) -> None:
    task = submit()
    for status in (Status.PENDING, Status.ERROR):
        trace = Traceback("ValueError", "a.py:1 in f", f"ValueError: {EVIL} {status}")
        fake_worker.end(status, error_code="exception", error_message="no", traceback=trace)
    text = page.get(f"/staff/tasks/{task.pk}/").content.decode()
    assert text.count("<summary>Traceback</summary>") == 2
    assert "&lt;img src=x onerror=alert(1)&gt; pending" in text


@pytest.mark.parametrize("task_id", [0, 123456, 2**63 - 1, 2**63, 10**30])
def test_a_task_that_is_none_is_not_there(page: Client, task_id: int) -> None:
    assert page.get(f"/staff/tasks/{task_id}/").status_code == 404
