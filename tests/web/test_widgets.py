"""Every kind of value has its widget: empty, valid, invalid, after an error, submitted again."""

import html
import re
from typing import Any

import pytest
from django.test import Client

from taskyard.accounts.models import User
from taskyard.core import lifecycle
from taskyard.core.models import Task
from taskyard.core.types import NewTask
from tests.asking import ASKED, IN_LISTS
from tests.web.forms import sent_by

REQUIRED = "This field is required."
ZONE = {"zone": "Europe/Moscow"}
KINDS = [*ASKED]
WITH_WRONG = [kind for kind in ASKED if ASKED[kind].wrong]


def post(page: Client, name: str, fields: dict[str, Any]) -> Any:
    return page.post(f"/tasks/new/asks-{name}/", {**ZONE, **fields})


def taken(page: Client, name: str, fields: dict[str, Any]) -> Any:
    """The input of the task that the form created."""
    answer = post(page, name, fields)
    assert answer.status_code == 302, html.unescape(answer.text)
    return Task.objects.latest("id").input_data


def refused(page: Client, name: str, fields: dict[str, Any], *, at: str) -> str:
    """The error messages at the field; checks that no task was created."""
    answer = post(page, name, fields)
    assert answer.status_code == 400
    assert not Task.objects.exists()
    assert 'aria-invalid="true"' in answer.text or "group item wrong" in answer.text
    return html.unescape(str(answer.text.split(f'id="{at}-about"')[1].split("</div>")[0]))


def controls(text: str) -> str:
    return str(text.split('id="fields"')[1].split("<hr>")[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_has_its_own_widget(page: Client, kind: str) -> None:
    shown = controls(page.get(f"/tasks/new/asks-{kind}/").text)
    assert ASKED[kind].widget in shown
    assert " required" in shown
    assert taken(page, kind, {"/value": ASKED[kind].typed}) == {"value": ASKED[kind].value}


@pytest.mark.parametrize("name", ["{}", "list-{}", "object-{}", "rows-{}"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("blank", ["", "  "])
def test_an_empty_required_field_is_an_error_there(
    page: Client, kind: str, name: str, blank: str
) -> None:
    if name == "list-{}" and kind not in IN_LISTS:
        return
    at, fields = {
        "{}": ("input-value", {"/value": blank}),
        "list-{}": ("input-value", {"/value": [blank, blank]}),
        "object-{}": ("input-value--inner", {"/value/inner": blank}),
        "rows-{}": ("input-value--0--inner", {"/value": "0", "/value/0/inner": blank}),
    }[name]
    assert REQUIRED in refused(page, name.format(kind), fields, at=at)
    without = {key: value for key, value in fields.items() if key == "/value" and value == "0"}
    assert REQUIRED in refused(page, name.format(kind), without, at=at)


@pytest.mark.parametrize("kind", KINDS)
def test_a_list_of_objects_without_one_is_an_error(page: Client, kind: str) -> None:
    assert REQUIRED in html.unescape(post(page, f"rows-{kind}", {}).text)


@pytest.mark.parametrize("kind", KINDS)
def test_an_optional_value_left_empty_is_not_given(page: Client, kind: str) -> None:
    shown = controls(page.get(f"/tasks/new/asks-optional-{kind}/").text)
    assert ASKED[kind].widget in shown
    assert "null" not in shown.lower()
    assert "optional" in shown
    assert taken(page, f"optional-{kind}", {"/value": ""}) == {}
    assert taken(page, f"optional-{kind}", {"/value": ASKED[kind].typed})["value"] is not None
    assert taken(page, f"null-{kind}", {"/value": ""}) == {"value": None}
    assert taken(page, f"optional-object-{kind}", {"/value/inner": ""}) == {}


@pytest.mark.parametrize("kind", WITH_WRONG)
@pytest.mark.parametrize("name", ["{}", "optional-{}", "list-{}", "rows-{}", "object-{}"])
def test_what_is_wrong_is_said_at_the_field_and_kept(page: Client, kind: str, name: str) -> None:
    asked = ASKED[kind]
    at, fields = {
        "list-{}": ("input-value", {"/value": [asked.typed, asked.wrong]}),
        "object-{}": ("input-value--inner", {"/value/inner": asked.wrong}),
        "rows-{}": ("input-value--0--inner", {"/value": "0", "/value/0/inner": asked.wrong}),
    }.get(name, ("input-value", {"/value": asked.wrong}))
    said = refused(page, name.format(kind), fields, at=at)
    assert asked.text in said
    assert ("2: " in said) == (name == "list-{}")
    kept = sent_by(post(page, name.format(kind), fields).text)
    if kind != "choice":
        assert asked.wrong in [
            *kept.get("/value", []),
            *kept.get(f"/{at[6:].replace('--', '/')}", []),
        ]
    assert kept["zone"] == ["Europe/Moscow"]


@pytest.mark.parametrize("kind", IN_LISTS)
def test_a_list_takes_a_value_from_each_row_and_each_line(page: Client, kind: str) -> None:
    asked = ASKED[kind]
    expected = {"value": [asked.value, asked.value]}
    assert taken(page, f"list-{kind}", {"/value": [asked.typed, "", asked.typed]}) == expected
    lines = f"{asked.typed}\r\n\r\n{asked.typed}\r\n"
    assert taken(page, f"list-{kind}", {"/value": lines, "lines": "/value"}) == expected
    assert taken(page, f"optional-list-{kind}", {"/value": ["", ""]}) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_added_and_removed_without_a_script(page: Client, kind: str) -> None:
    name, typed = f"rows-{kind}", ASKED[kind].typed
    form = sent_by(page.get(f"/tasks/new/asks-{name}/").text)
    assert "/value/0/inner" not in form
    for number in range(3):
        form = sent_by(post(page, name, {**form, "do": "add /value"}).text)
        assert form["/value"] == [str(each) for each in range(number + 1)]
        if kind != "secret":
            form[f"/value/{number}/inner"] = [typed]
    form = sent_by(post(page, name, {**form, "do": "remove /value 1"}).text)
    assert form["/value"] == ["0", "1"]
    if kind == "secret":
        form |= {"/value/0/inner": [typed], "/value/1/inner": [typed]}
    assert taken(page, name, {**form, **ZONE}) == {"value": [{"inner": ASKED[kind].value}] * 2}


@pytest.mark.parametrize("kind", IN_LISTS)
def test_values_are_added_and_removed_without_a_script(page: Client, kind: str) -> None:
    name, typed = f"list-{kind}", ASKED[kind].typed
    form = sent_by(page.get(f"/tasks/new/asks-{name}/").text)
    assert form["/value"] == [""]
    answer = post(page, name, {**form, "/value": [typed], "do": "add /value"})
    assert re.search(r'id="input-value-2"[^>]*autofocus', answer.text)
    form = sent_by(answer.text)
    assert len(form["/value"]) == 2
    form = sent_by(post(page, name, {**form, "do": "remove /value 1"}).text)
    assert len(form["/value"]) == 1
    as_text = sent_by(post(page, name, {**form, "do": "lines /value"}).text)
    assert as_text["lines"] == ["/value"]
    back = sent_by(post(page, name, {**as_text, "do": "rows /value"}).text)
    assert "lines" not in back
    assert taken(page, name, {**back, **ZONE}) == {"value": [ASKED[kind].value]}


@pytest.mark.parametrize(
    "action",
    ["add /nope", "remove /value 99", "remove /value x", "remove /value", "add ", "rows /"],
)
def test_a_strange_change_of_rows_changes_nothing(page: Client, action: str) -> None:
    answer = post(page, "list-integer", {"/value": ["1", "2"], "do": action})
    assert answer.status_code == 200
    assert sent_by(answer.text)["/value"] == ["1", "2"]


@pytest.mark.parametrize("name", ["{}", "optional-{}", "list-{}", "rows-{}", "object-{}"])
@pytest.mark.parametrize("kind", KINDS)
def test_running_again_sends_the_same_input(page: Client, ann: User, kind: str, name: str) -> None:
    if name == "list-{}" and kind not in IN_LISTS:
        return
    value = ASKED[kind].value
    data = {"list-{}": [value, value], "rows-{}": [{"inner": value}], "object-{}": {"inner": value}}
    input_data = {"value": data.get(name, value)}
    new = NewTask(task_type=f"asks-{name.format(kind)}", queue="default", input_data=input_data)
    old = lifecycle.submit(ann.pk, new)
    text = page.get(f"/tasks/new/{new.task_type}/?from={old.pk}").text
    form = sent_by(text)
    assert form["as"] == ["form"]
    if kind == "secret":
        assert "s3cret" not in controls(text)
        return
    assert page.post(f"/tasks/new/{new.task_type}/", form).status_code == 302
    assert Task.objects.latest("id").input_data == input_data


@pytest.mark.parametrize(
    ("name", "typed", "expected"),
    [
        ("boolean", {}, {"value": False}),
        ("boolean", {"/value": "true"}, {"value": True}),
        ("optional-boolean", {"/value": ""}, {}),
        ("optional-boolean", {"/value": "false"}, {"value": False}),
        ("list-boolean", {"/value": ["true", "", "false"]}, {"value": [True, False]}),
        ("optional-dict", {"/value": " "}, {}),
        ("optional-dict", {"/value": '{"a": 1}'}, {"value": {"a": 1}}),
        ("anything", {"/value": ""}, {}),
        ("anything", {"/value": "[1]"}, {"value": [1]}),
    ],
)
def test_what_is_said_without_text(
    page: Client, name: str, typed: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert "null" not in controls(page.get(f"/tasks/new/asks-{name}/").text)
    assert taken(page, name, typed) == expected


def test_a_moment_stands_on_the_clock_of_the_form(page: Client, ann: User) -> None:
    new = NewTask(
        task_type="asks-datetime", queue="default", input_data={"value": "2030-01-01T09:00:00Z"}
    )
    old = lifecycle.submit(ann.pk, new)
    form = sent_by(page.get(f"/tasks/new/asks-datetime/?from={old.pk}").text)
    assert form["/value"] == ["2030-01-01T09:00:00"]
    assert form["zone"] == [""]
    back = sent_by(
        post(
            page,
            "datetime",
            {"as": "json", "raw": '{"value": "2030-01-01T09:00:00Z"}', "do": "as-form"},
        ).text
    )
    assert (back["/value"], back["zone"]) == (["2030-01-01T12:00:00"], ["Europe/Moscow"])


def test_an_unknown_zone_of_an_input_is_refused(page: Client) -> None:
    fields = {"/value": "2030-01-01T12:00", "zone": "Nowhere/City"}
    assert "time zone is not known" in refused(page, "datetime", fields, at="zone")
    assert "time zone is not known" in refused(page, "list-datetime", fields, at="zone")
    again = {"/value": "0", "/value/0/inner": "2030-01-01T12:00", "zone": "Nowhere/City"}
    assert "time zone is not known" in refused(page, "rows-datetime", again, at="zone")


def test_an_authors_words_are_never_ours(ann: User) -> None:
    russian = Client(headers={"accept-language": "ru"})
    russian.force_login(ann)
    text = russian.get("/tasks/new/asks-our-words/").text
    for word in ("Tags", "Priority", "Label", "Timeout", "Delete", "Cancel", "Имя"):
        assert re.search(rf">\s*{word}\b", controls(text) + text.split("<h1>")[1]), word
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    fields = {
        "/tags": ["a", "b"],
        "/priority": "7",
        "/label": "x",
        "/timeout": "2.5",
        "/delete": "true",
        "/имя": "один",
        "/имя_2": "два",
        "priority": "high",
        "tags": "mine",
    }
    assert russian.post("/tasks/new/asks-our-words/", fields).status_code == 302
    task = Task.objects.get()
    assert task.input_data == {
        "tags": ["a", "b"],
        "priority": 7,
        "label": "x",
        "timeout": 2.5,
        "delete": True,
        "имя": "один",
        "имя_2": "два",
    }
    assert (task.priority, task.tags) == (2, ["mine"])
    # The builtin task types are translated.
    assert "Числа" in russian.get("/tasks/new/sum/").text
