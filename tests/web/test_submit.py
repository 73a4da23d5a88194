"""The form of a new task accepts the same inputs as the API."""

import html
import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from taskyard.accounts.models import User
from taskyard.core import lifecycle
from taskyard.core.models import Task
from taskyard.core.types import NewTask


def submit(page: Client, name: str = "sum", **typed: Any) -> Any:
    fields = {
        key if key in ("raw", "as", "do") or not key.startswith("_") else f"/{key[1:]}": value
        for key, value in typed.items()
    }
    return page.post(f"/tasks/new/{name}/", fields)


def about(answer: Any, name: str) -> str:
    return html.unescape(str(answer.text.split(f'id="{name}-about"')[1].split("</div>")[0]))


def test_every_type_has_a_card(page: Client) -> None:
    text = page.get("/tasks/new/").text
    assert "Sum of numbers" in text
    assert "Countdown" in text


def test_an_unknown_type_is_not_there(page: Client) -> None:
    assert page.get("/tasks/new/nope/").status_code == 404


def test_a_sum_is_submitted_exactly(page: Client) -> None:
    answer = submit(
        page,
        _numbers=["1", "2.5", "", "9007199254740991"],
        priority="high",
        tags=" tea , <img src=x onerror=alert(1)> ",
        max_attempts="2",
        timeout="1.5",
    )
    task = Task.objects.get()
    assert (answer.status_code, answer.url) == (302, f"/tasks/{task.pk}/")
    assert task.input_data == {"numbers": [1, 2.5, 9007199254740991]}
    assert (task.priority, task.max_attempts, task.timeout_seconds) == (2, 2, 1.5)
    assert task.tags == ["tea", "<img src=x onerror=alert(1)>"]


@pytest.mark.parametrize(
    ("typed", "name", "text"),
    [
        ({"_numbers": "1\n2\nx"}, "input-numbers", "3: A number is expected."),
        ({"_numbers": "1 2"}, "input-numbers", "1: A number is expected."),
        ({"_numbers": "2\n1,5"}, "input-numbers", "2: A number is expected, its fraction after"),
        ({"_numbers": "1.000,50"}, "input-numbers", "1: A number is expected, its fraction"),
        ({"_numbers": "1\u00a0000,5"}, "input-numbers", "1: A number is expected, its fraction"),
        ({"_numbers": ["", " "]}, "input-numbers", "This field is required."),
        ({"_numbers": ""}, "input-numbers", "This field is required."),
        ({"_numbers": "9007199254740992"}, "input-numbers", "1: The value must be at most"),
        ({"_numbers": "1", "tags": "x" * 51}, "tags", "At most 50 characters"),
        ({"_numbers": "1", "tags": ",".join("abcdefghijk")}, "tags", "At most 10 items"),
        ({"_numbers": "1", "max_attempts": "99"}, "max_attempts", "at most 10"),
        ({"_numbers": "1", "timeout": "soon"}, "timeout", "A number is expected."),
        ({"_numbers": "1", "timeout": "1,5"}, "timeout", "its fraction after a point"),
        ({"_numbers": "1", "max_attempts": "1,0"}, "max_attempts", "after a point"),
        ({"_numbers": "1", "run_at": "tomorrow"}, "run_at", "date and time"),
        ({"_numbers": "1", "tags": "a\0"}, "tags", "Null characters"),
        ({"_numbers": "1\0"}, "input-numbers", "Null characters"),
        ({"as": "json", "raw": "\0"}, "raw", "Null characters"),
        ({"as": "json", "raw": '{"numbers": [1, "x"]}'}, "raw", "/numbers/1 A number"),
        ({"as": "json", "raw": '{"numbers": [1], "more": 1}'}, "raw", "/more This field"),
        ({"as": "json", "raw": '{"numbers": [1'}, "raw", "not JSON (line 1"),
        ({"as": "json", "raw": '{"a": 1, "a": 2}'}, "raw", "given twice"),
    ],
)
def test_what_is_wrong_stands_at_its_field(
    page: Client, typed: dict[str, Any], name: str, text: str
) -> None:
    answer = submit(page, **typed)
    assert answer.status_code == 400
    assert text in about(answer, name)
    assert 'aria-invalid="true"' in answer.text
    assert not Task.objects.exists()


def test_a_start_time_is_in_the_persons_zone(page: Client) -> None:
    submit(page, _numbers="1", run_at="2030-01-01T12:00", zone="Europe/Moscow")
    assert Task.objects.get().run_at.isoformat() == "2030-01-01T09:00:00+00:00"


def test_without_a_zone_a_start_time_is_in_utc(page: Client) -> None:
    submit(page, _numbers="1", run_at="2030-01-01T12:00", zone=" ")
    assert Task.objects.get().run_at.isoformat() == "2030-01-01T12:00:00+00:00"


@pytest.mark.parametrize(
    "zone", ["../etc/passwd", "Nowhere/City", "x" * 300, "Europe", "GMT+1\0", "Москва"]
)
def test_an_unknown_zone_is_refused_at_its_field(page: Client, zone: str) -> None:
    answer = submit(page, _numbers="1", run_at="2030-01-01T12:00", zone=zone)
    assert answer.status_code == 400
    text = "Null characters" if "\0" in zone else "This time zone is not known here."
    assert text in about(answer, "zone")
    assert not Task.objects.exists()


def test_an_unknown_zone_harms_nothing_that_needs_none(page: Client) -> None:
    submit(page, _numbers="1", zone="Nowhere/City")
    submit(page, _numbers="1", zone="Nowhere/City", run_at="2030-01-01T12:00+01:00")
    assert Task.objects.count() == 2


def test_the_sixth_active_task_is_refused_with_the_reason(page: Client, ann: User) -> None:
    for _ in range(5):
        submit(page, _numbers="1")
    answer = submit(page, _numbers="1")
    assert answer.status_code == 400
    assert "more than 5 active tasks" in answer.text
    assert Task.objects.count() == 5


def test_form_and_json_carry_the_input_to_each_other(page: Client) -> None:
    as_json = submit(page, _numbers="1\n2.5\n9007199254740993", do="as-json")
    (raw,) = re.findall(r'<textarea id="raw"[^>]*>\n(.*?)</textarea>', as_json.text, re.DOTALL)
    assert json.loads(html.unescape(raw)) == {"numbers": [1, 2.5, 9007199254740993]}
    back = submit(page, **{"as": "json", "raw": html.unescape(raw), "do": "as-form"})
    for number in ("1", "2.5", "9007199254740993"):
        assert re.search(rf'<input[^>]*name="/numbers"[^>]*value="{number}"', back.text)
    assert not Task.objects.exists()


def test_what_fields_cannot_say_stays_json(page: Client) -> None:
    answer = submit(page, **{"as": "json", "raw": '{"numbers": [1], "more": 2}', "do": "as-form"})
    assert answer.status_code == 400
    assert "The fields cannot say this exactly." in about(answer, "raw")
    assert html.escape('"more": 2') in answer.text


def test_the_preview_is_a_request_that_the_api_takes(page: Client) -> None:
    fields = {"/numbers": "1\n9007199254740991", "tags": "it's, <b>"}
    text = page.post("/tasks/new/sum/preview/", fields).text
    curl, python = (
        html.unescape(each) for each in re.findall(r"<pre[^>]*>(.*?)</pre>", text, re.S)
    )
    expected = {
        "task_type": "sum",
        "input_data": {"numbers": [1, 9007199254740991]},
        "tags": ["it's", "<b>"],
    }
    # The examples work in a shell and in Python.
    said = subprocess.run(
        ["sh", "-c", curl.replace("curl", "printf '%s\\n'")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert json.loads(said.split("-d\n")[1]) == expected
    script = python.split("request =")[0] + "print(json.dumps(task))"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert json.loads(found.stdout) == expected
    assert "http://testserver/api/tasks/create/" in python


def test_a_long_request_is_not_laid_out(page: Client) -> None:
    fields = {"/numbers": "\n".join(["1"] * 9000)}
    assert "too long to be shown" in page.post("/tasks/new/sum/preview/", fields).text
    assert page.post("/tasks/new/sum/", fields).status_code == 302
    assert len(Task.objects.get().input_data["numbers"]) == 9000


def test_running_again_fills_the_form_in(page: Client, ann: User) -> None:
    old = lifecycle.submit(
        ann.pk,
        NewTask(task_type="sum", queue="default", input_data={"numbers": [4, 5]}, tags=("tea",)),
    )
    text = page.get(f"/tasks/new/sum/?from={old.pk}").text
    assert re.findall(r'<input[^>]*name="/numbers"[^>]*value="([^"]*)"', text) == ["4", "5"]
    assert 'value="tea"' in text


def test_anothers_input_is_not_shown(
    new_user: Callable[..., User], browse: Callable[[User], Client], ann: User
) -> None:
    old = lifecycle.submit(
        ann.pk, NewTask(task_type="sum", queue="default", input_data={"numbers": [424242]})
    )
    text = browse(new_user("eve")).get(f"/tasks/new/sum/?from={old.pk}").text
    assert "424242" not in text


@pytest.mark.parametrize("again", ["x", "-1", "9" * 40, "²"])
def test_a_strange_id_is_a_blank_form(page: Client, again: str) -> None:
    assert page.get("/tasks/new/sum/", {"from": again}).status_code == 200


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("[" * 64 + "]" * 64, "more than 64 levels"),
        (f'{{"numbers": ["{"x" * 256 * 1024}"]}}', "more than 262144 bytes"),
    ],
)
def test_what_the_api_would_not_read_is_not_taken_here(page: Client, raw: str, text: str) -> None:
    deep = raw if raw.startswith("{") else f'{{"numbers": {raw}}}'
    answer = submit(page, **{"as": "json", "raw": deep})
    assert answer.status_code == 400
    assert text in answer.text


def test_a_form_that_is_sent_twice_is_one_task(page: Client) -> None:
    key = re.search('name="key" value="([0-9a-f]{32})"', page.get("/tasks/new/sum/").text)
    assert key is not None
    first, again, other = (
        submit(page, _numbers=numbers, key=key[1]).headers["Location"]
        for numbers in ("1\n2", "1\n2", "1\n3")
    )
    assert first == again
    assert other != first
    assert Task.objects.count() == 2


def test_more_text_than_a_request_may_have_is_refused_unread(page: Client) -> None:
    answer = submit(page, _numbers="1\n" * 200_000)
    assert answer.status_code == 400
    assert "The task has more than 262144 bytes." in html.unescape(answer.text)
    assert not Task.objects.exists()


def test_running_again_keeps_odd_options_exactly(page: Client, ann: User) -> None:
    odd = NewTask(
        task_type="sum",
        queue="default",
        input_data={"numbers": [1]},
        timeout_seconds=1234567.5,
        tags=("a, b", 'says "no"', "plain"),
    )
    text = page.get(f"/tasks/new/sum/?from={lifecycle.submit(ann.pk, odd).pk}").text
    shown = {name: value_of(text, name) for name in ("tags", "timeout")}
    page.post("/tasks/new/sum/", {"/numbers": "1", **shown})
    again = Task.objects.latest("id")
    assert (tuple(again.tags), again.timeout_seconds) == (odd.tags, odd.timeout_seconds)


def value_of(text: str, name: str) -> str:
    (found,) = re.findall(rf'<input[^>]*name="{name}"[^>]*>', text)
    (value,) = re.findall(r'value="([^"]*)"', found)
    return html.unescape(value)
