"""The list of tasks and the page of a task: access, contents, actions."""

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.http import QueryDict
from django.test import Client

from taskyard.accounts.models import User
from taskyard.core import history, lifecycle, search
from taskyard.core.models import Quota, Task
from taskyard.core.states import Status
from taskyard.core.types import Line, NewTask, Traceback
from taskyard.web import task_list
from taskyard.web.task_list import Filters
from tests import asking
from tests.configured import configure
from tests.fake_worker import FakeWorker

EVIL = "<img src=x onerror=alert(1)>"
PART = {"HX-Request": "true"}


def submit(owner: User, *, many: int = 1, **options: Any) -> list[Task]:
    Quota.objects.filter(user=owner).update(active_limit=100_000)
    options = {"task_type": "sum", "queue": "default", "input_data": {"numbers": [1]}, **options}
    ids = lifecycle.submit_all(owner.pk, [NewTask(**options)] * many)
    return list(Task.objects.filter(id__in=ids).order_by("id"))


def shown(answer: Any) -> list[int]:
    return [int(each.split('"')[0]) for each in answer.text.split('<tr id="task-')[1:]]


@pytest.fixture
def eve(new_user: Callable[..., User], browse: Callable[[User], Client]) -> Client:
    return browse(new_user("eve"))


@pytest.mark.parametrize("path", ["/tasks/", "/tasks/new/", "/tasks/1/", "/password/"])
@pytest.mark.django_db
def test_nobody_is_asked_to_sign_in_first(path: str) -> None:
    answer = Client().get(path)
    assert (answer.status_code, answer.url) == (302, f"/sign-in/?next={path}")
    assert Client().get(path, headers=PART).status_code == 401


@pytest.mark.parametrize("path", ["", "part/", "cancel/", "retry/", "delete/"])
def test_anothers_task_is_as_if_it_were_not_there(eve: Client, ann: User, path: str) -> None:
    (task,) = submit(ann)
    ask = eve.get if path in ("", "part/") else eve.post
    mine, none = ask(f"/tasks/{task.pk}/{path}"), ask(f"/tasks/{task.pk + 1}/{path}")
    assert mine.status_code == none.status_code == 404
    tokens = re.compile('name="csrfmiddlewaretoken" value="[^"]*"')
    assert tokens.sub("", mine.text) == tokens.sub("", none.text)
    assert Task.objects.get().status == Status.PENDING


def test_an_owner_sees_a_traceback_if_the_operator_says_so(
    page: Client, ann: User, fake_worker: FakeWorker, settings: Any
) -> None:
    (task,) = submit(ann)
    trace = Traceback("ValueError", "a.py:1 in f", f"ValueError: {EVIL}")
    fake_worker.end(Status.ERROR, error_code="exception", error_message="no", traceback=trace)
    assert "a.py" not in page.get(f"/tasks/{task.pk}/").text
    configure(settings, SHOW_TRACEBACKS=True)
    assert "ValueError: &lt;img src=x" in page.get(f"/tasks/{task.pk}/").text


def test_two_owners_see_and_change_only_their_own(eve: Client, page: Client, ann: User) -> None:
    first, second = submit(ann, many=2)
    assert shown(page.get("/tasks/")) == [second.pk, first.pk]
    assert shown(eve.get("/tasks/")) == []
    assert shown(eve.get(f"/tasks/rows/?ids={first.pk}&newest=0")) == []
    assert "New tasks" not in eve.get("/tasks/rows/?newest=0").text
    eve.post("/tasks/change/", {"task": [first.pk, second.pk], "do": "cancel"})
    assert set(Task.objects.values_list("status", flat=True)) == {Status.PENDING}


@pytest.mark.parametrize("task_id", [0, 2**63 - 1, 2**63, 10**30])
def test_an_id_that_cannot_be_is_not_found(page: Client, task_id: int) -> None:
    assert page.get(f"/tasks/{task_id}/").status_code == 404


def test_pages_are_cut_by_id(page: Client, ann: User) -> None:
    ids = [task.pk for task in submit(ann, many=120)][::-1]
    first = page.get("/tasks/")
    assert shown(first) == ids[:50]
    second = page.get(f"/tasks/?before={ids[49]}")
    assert shown(second) == ids[50:100]
    third = page.get(f"/tasks/?before={ids[99]}")
    assert shown(third) == ids[100:]
    assert 'rel="next"' not in third.text
    assert shown(page.get(f"/tasks/?after={ids[100]}")) == ids[50:100]
    back = page.get(f"/tasks/?after={ids[50]}")
    assert shown(back) == ids[:50]
    assert 'rel="prev"' not in back.text


def test_filters(page: Client, ann: User, fake_worker: FakeWorker) -> None:
    (done,) = submit(ann, tags=("tea",))
    fake_worker.end(Status.COMPLETED)
    (waiting,) = submit(ann)
    (counting,) = submit(ann, task_type="countdown", input_data={"seconds": 5})
    for query, expected in [
        ("status=completed", [done]),
        ("status=completed&status=pending", [counting, waiting, done]),
        ("type=countdown", [counting]),
        ("tag=tea", [done]),
        ("tag=te", []),
        ("from=2000-01-01&to=2100-01-01", [counting, waiting, done]),
        ("from=2100-01-01", []),
        ("to=2000-01-01", []),
    ]:
        assert shown(page.get(f"/tasks/?{query}")) == [task.pk for task in expected], query


@pytest.mark.parametrize("query", ["from=x", "to=2024-13-01", "status=nope"])
def test_a_filter_that_cannot_be_is_said(page: Client, query: str) -> None:
    answer = page.get(f"/tasks/?{query}")
    assert answer.status_code == 400
    assert '<p class="error">' in answer.text


@pytest.mark.parametrize(
    "query", ["before=x", "after=-1", f"before={10**30}", "page=7", "type=a'b"]
)
def test_strange_addresses_are_pages(page: Client, query: str) -> None:
    assert page.get(f"/tasks/?{query}").status_code == 200


def test_the_quota_says_which_tasks_hold_the_places(page: Client, ann: User) -> None:
    (task,) = submit(ann)
    Quota.objects.update(active_limit=3)
    text = page.get("/tasks/").text.split('id="quota"')[1].split("</section>")[0]
    assert "1 of 3" in text
    assert text.count("<i class=") == 1
    assert text.count("<i") == 3
    assert f'href="/tasks/{task.pk}/"' in text


def test_rows_are_what_the_list_shows(page: Client, ann: User) -> None:
    first, second = submit(ann, many=2)
    answer = page.get(f"/tasks/rows/?ids={first.pk},x,{10**30}&newest={first.pk}", headers=PART)
    assert shown(answer) == [first.pk]
    assert "New tasks: 1" in answer.text
    filtered = page.get(f"/tasks/rows/?newest={first.pk}&status=error", headers=PART)
    assert "New tasks" not in filtered.text
    assert second.pk


def test_many_are_cancelled_or_deleted(page: Client, ann: User, fake_worker: FakeWorker) -> None:
    (done,) = submit(ann)
    fake_worker.end(Status.COMPLETED)
    (waiting,) = submit(ann)
    both = [done.pk, waiting.pk]
    answer = page.post("/tasks/change/", {"task": both, "do": "delete"}, follow=True)
    assert "Deleted: 1." in answer.text
    assert "Not deleted, because they are active: 1." in answer.text
    answer = page.post("/tasks/change/", {"task": both, "do": "cancel"}, follow=True)
    assert "Cancelled, or asked to stop: 1." in answer.text
    assert Task.objects.get().status == Status.CANCELLED
    assert "No task is selected." in page.post("/tasks/change/", {}, follow=True).text


def test_a_task_is_told_from_its_creation_to_its_end(
    page: Client, ann: User, fake_worker: FakeWorker
) -> None:
    (task,) = submit(ann, input_data={"numbers": [9007199254740991, 2**70]}, tags=(EVIL,))
    (claimed,) = fake_worker.claim()
    history.write_lines(task.pk, 1, [Line(task.created_at, EVIL)], kept=0, dropped=3)
    running = page.get(f"/tasks/{task.pk}/").text
    assert "Running" in running
    assert "data-stream=" in running
    fake_worker.finish(claimed, Status.COMPLETED, result=json.dumps([EVIL, 2**70]))
    text = page.get(f"/tasks/{task.pk}/").text
    assert "data-stream=" not in text
    for part in ("Created", "Attempt 1", "Completed", str(2**70), "+3"):
        assert part in text
    assert "<img" not in text
    assert text.count(html.escape(EVIL)) >= 3


def test_a_failure_is_told_as_text(page: Client, ann: User, fake_worker: FakeWorker) -> None:
    (task,) = submit(ann)
    fake_worker.end(Status.ERROR, error_code="no_file", error_message=EVIL)
    text = page.get(f"/tasks/{task.pk}/").text
    assert "no_file" in text
    assert "<img" not in text
    answer = page.post(f"/tasks/{task.pk}/retry/")
    again = Task.objects.get(retry_of=task.pk)
    assert answer.url == f"/tasks/{again.pk}/"
    assert f'href="/tasks/{task.pk}/"' in page.get(answer.url).text


def test_a_running_task_is_asked_to_stop(page: Client, ann: User, fake_worker: FakeWorker) -> None:
    (task,) = submit(ann)
    fake_worker.claim()
    answer = page.post(f"/tasks/{task.pk}/cancel/", follow=True)
    assert "asked to stop" in answer.text
    assert "The task is still active" in page.post(f"/tasks/{task.pk}/delete/", follow=True).text


def test_what_the_rules_refuse_is_said(page: Client, ann: User, fake_worker: FakeWorker) -> None:
    (task,) = submit(ann)
    fake_worker.end(Status.COMPLETED)
    for action, text in [
        ("cancel", "The task has already ended."),
        ("retry", "Only a task that ended in error or was cancelled"),
    ]:
        assert text in page.post(f"/tasks/{task.pk}/{action}/", follow=True).text
    assert "Deleted" in page.post(f"/tasks/{task.pk}/delete/", follow=True).text
    assert not Task.objects.exists()


def test_the_part_has_only_the_new_lines(page: Client, ann: User, fake_worker: FakeWorker) -> None:
    (task,) = submit(ann)
    (claimed,) = fake_worker.claim()
    lines = [Line(task.created_at, f"line {number}") for number in range(3)]
    history.write_lines(task.pk, 1, lines, kept=0, dropped=0)
    first = task.log_lines.order_by("id").first()
    assert first is not None
    part = page.get(f"/tasks/{task.pk}/part/?after={first.pk}", headers=PART).text
    assert "line 0" not in part
    assert "line 1" in part
    assert "task-over" not in part
    fake_worker.finish(claimed, Status.COMPLETED)
    assert "task-over" in page.get(f"/tasks/{task.pk}/part/?after=x", headers=PART).text


def test_the_stream_needs_the_asgi_server_and_a_session(page: Client, ann: User) -> None:
    answer = page.get("/events/")
    assert answer.status_code == 406
    assert "X-Taskyard-Owner" not in answer.headers


def test_the_start_leads_to_the_tasks(page: Client) -> None:
    assert page.get("/").url == "/tasks/"
    assert Client().get("/").url == "/sign-in/"


def test_a_missing_page_is_ours(page: Client) -> None:
    answer = page.get("/nope/")
    assert answer.status_code == 404
    assert "Page not found" in answer.text


def rows_of(answer: Any) -> list[str]:
    """The text of the summary lines."""
    lines = answer.text.split('<div class="summary">')[1:]
    plain = (re.sub(r"<[^>]*>", "", line.split("</div>")[0]) for line in lines)
    return [html.unescape(" ".join(line.split())) for line in plain]


def test_a_row_says_input_and_outcome(page: Client, ann: User, fake_worker: FakeWorker) -> None:
    submit(ann, input_data={"numbers": [1, 2.5, 2**70]})
    (claimed,) = fake_worker.claim()
    fake_worker.finish(claimed, Status.COMPLETED, result='{"result": 3.5}')
    submit(ann, input_data={"numbers": [1], "to": EVIL})
    (claimed,) = fake_worker.claim()
    fake_worker.finish(
        claimed, Status.ERROR, error_code="exception", error_message="KeyError: \u202e\n'x'"
    )
    submit(ann, task_type="countdown", input_data={"seconds": 5})
    answer = page.get("/tasks/")
    assert rows_of(answer) == [
        "seconds: 5",
        f"numbers: 1, to: {EVIL} → KeyError: 'x'",
        f"numbers: 1, 2.5, {2**70} → result: 3.5",
    ]
    assert "<img" not in answer.text
    ids = ",".join(map(str, shown(answer)))
    assert len(rows_of(page.get(f"/tasks/rows/?ids={ids}", headers=PART))) == 3


def test_a_summary_costs_little_and_is_short(
    page: Client, ann: User, fake_worker: FakeWorker, django_assert_max_num_queries: Any
) -> None:
    (task,) = submit(ann, input_data={"words": ["слово"] * 20_000, "b": {"c": [1]}})
    fake_worker.end(Status.COMPLETED, result=json.dumps("x" * 500_000))
    listed = next(iter(task_list.page(ann.pk, Filters.from_query(QueryDict())).tasks))
    assert {"input_data", "result", "error_message"} <= listed.get_deferred_fields()
    for name in ("input_head", "result_head", "error_head"):
        assert len(getattr(listed, name) or "") <= 300
    with django_assert_max_num_queries(12):
        (line,) = rows_of(page.get("/tasks/"))
    assert len(line) < 300
    assert task.pk == listed.pk


def test_a_secret_is_in_no_summary(page: Client, ann: User) -> None:
    submit(ann, task_type=f"asks-{asking.SECRET_KIND}", input_data={"value": "s3cret"})
    assert "s3cret" not in page.get("/tasks/").text


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("Oranges", ["input"]),
        ("oranges", ["input"]),
        ("апельсин", ["russian"]),
        ("АПЕЛЬСИН", ["russian"]),
        ('say "no"', ["quotes"]),
        ("back\\slash", ["quotes"]),
        ("100%", ["percent"]),
        ("1_0", []),
        ("of the file", ["failed"]),
        ("half way", ["reported"]),
        ("breakfast", ["tagged"]),
        ("nowhere", []),
        ("'; DROP TABLE", []),
    ],
)
def test_search_looks_in_input_messages_and_tags(
    page: Client, ann: User, fake_worker: FakeWorker, words: str, found: list[str]
) -> None:
    made = {
        "failed": submit(ann)[0].pk,
    }
    fake_worker.end(Status.ERROR, error_code="bad", error_message="The end of the file")
    (reported,) = submit(ann)
    Task.objects.filter(pk=reported.pk).update(progress={"percent": 50, "message": "half way"})
    texts = {
        "input": "Five Oranges",
        "russian": "Апельсины и апельсин",
        "quotes": 'They say "no" and back\\slash',
        "percent": "100% sure",
    }
    made |= {name: submit(ann, input_data={"text": text})[0].pk for name, text in texts.items()}
    made |= {"reported": reported.pk, "tagged": submit(ann, tags=("breakfast",))[0].pk}
    submit(ann, input_data={"text": "100 or 110"})
    answer = page.get("/tasks/", {"q": words})
    assert shown(answer) == [made[name] for name in found]
    assert f'value="{html.escape(words)}"' in answer.text


def test_search_is_the_owners_alone(eve: Client, ann: User) -> None:
    submit(ann, input_data={"text": "oranges"})
    assert shown(eve.get("/tasks/?q=oranges")) == []


def test_a_search_goes_on_behind_the_tasks_it_looked_at(page: Client, ann: User) -> None:
    (oldest,) = submit(ann, input_data={"text": "oranges"})
    for _ in range(6):
        submit(ann, many=1000)
    answer = page.get("/tasks/?q=oranges")
    assert shown(answer) == []
    assert "The latest 5000 tasks were searched." in answer.text
    (further,) = set(re.findall(r'href="\?([^"]*before=[^"]*)"', answer.text))
    assert shown(page.get(f"/tasks/?{html.unescape(further)}")) == [oldest.pk]


def test_a_search_that_takes_too_long_ends(ann: User) -> None:
    submit(ann, many=2000, input_data={"text": "x" * 2000})
    tasks = search.containing(Task.objects.owned_by(ann.pk), "nowhere")
    with pytest.raises(search.TookTooLong), search.bounded(0.001):
        list(tasks)
    # The connection is still usable.
    assert Task.objects.count() == 2000
    with search.bounded(60):
        assert list(tasks) == []


def test_nothing_selected_is_said_and_nothing_is_done(page: Client, ann: User) -> None:
    submit(ann)
    for action in ("delete", "cancel"):
        text = page.post("/tasks/change/", {"do": action}, follow=True).text
        assert "No task is selected." in text
        assert "Deleted" not in text
    assert Task.objects.get().status == Status.PENDING
