"""Secrets on the page: a password field, dots, and never the secret itself."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from taskyard.accounts.models import User
from taskyard.catalog.secrets import DOTS
from taskyard.core import lifecycle
from taskyard.core.encryption import PREFIX
from taskyard.core.intake import parse_task
from taskyard.core.models import IdempotencyKey, Task
from taskyard.web.draft import RAW
from tests.configured import configure
from tests.running import run_ready

PASSWORD = "Correct-Horse-42"
FORM = {"/user": "ann", "/password": PASSWORD, "/how": "returns", "as": "form"}
ADDRESS = "/tasks/new/signs-in/"


@pytest.fixture(autouse=True)
def registered(secret_types: Any) -> None:
    """The types with secrets are known, and there is a key."""


@pytest.fixture
def task(ann: User) -> Task:
    given = {"user": "ann", "password": PASSWORD, "how": "fails"}
    new = parse_task({"task_type": "signs-in", "input_data": given})
    return lifecycle.submit(ann.pk, new)


def test_the_form_has_a_password_field_and_submits_the_secret(
    page: Client, secret_types: Any
) -> None:
    form = page.get(ADDRESS).text
    assert re.search(r'<input[^>]*name="/password"[^>]*type="password"', form)
    answer = page.post(ADDRESS, {**FORM, "do": "submit", "key": "0" * 32})
    assert answer.status_code == 302
    again = page.post(ADDRESS, {**FORM, "do": "submit", "key": "0" * 32})
    assert again.headers["Location"] == answer.headers["Location"]
    task = Task.objects.get()
    assert task.input_data["password"].startswith(PREFIX)
    assert PASSWORD not in repr(IdempotencyKey.objects.values())
    (ending,) = run_ready()
    assert secret_types.digest(PASSWORD).encode() in ending.result


@pytest.mark.parametrize("sent", [{"a": "Hunter-22"}, ["Hunter-22"], 5, True, None])
def test_what_is_no_text_is_refused_in_json_mode(page: Client, sent: Any) -> None:
    text = json.dumps({"user": "ann", "password": sent})
    for do, status in (("submit", 400), ("preview", 200)):
        answer = page.post(ADDRESS, {"as": "json", RAW: text, "do": do})
        assert answer.status_code == status
    assert not Task.objects.exists()


def test_no_page_shows_the_secret(
    page: Client, task: Task, browse: Callable[[User], Client], new_user: Callable[..., User]
) -> None:
    staff = browse(new_user("boss", is_staff=True, is_superuser=True))
    own = [f"/tasks/{task.pk}/", f"/tasks/{task.pk}/part/", "/tasks/", f"{ADDRESS}?from={task.pk}"]
    for of_staff, paths in (
        (False, own),
        (
            True,
            [
                f"/staff/tasks/{task.pk}/",
                "/staff/tasks/",
                f"/admin/taskyard/task/{task.pk}/change/",
            ],
        ),
    ):
        for path in paths:
            answer = (staff if of_staff else page).get(path)
            assert answer.status_code == 200, path
            assert PASSWORD not in answer.text
            assert PREFIX not in answer.text, path
    assert DOTS in page.get(f"/tasks/{task.pk}/").text
    assert DOTS in staff.get(f"/staff/tasks/{task.pk}/").text


def test_a_form_filled_in_from_a_task_asks_for_the_secret_again(page: Client, task: Task) -> None:
    form = page.get(f"{ADDRESS}?from={task.pk}").text
    assert 'value="ann"' in form
    assert re.search(r'<input[^>]*name="/password"[^>]*value=""', form)
    assert DOTS not in form
    assert "The fields cannot say this exactly" not in form


def test_the_request_beside_the_form_has_dots(page: Client) -> None:
    for answer in (
        page.post(f"{ADDRESS}preview/", FORM),
        page.post(ADDRESS, {**FORM, "do": "preview"}),
        page.post(ADDRESS, {**FORM, "do": "as-json"}),
    ):
        assert answer.status_code == 200
        assert PASSWORD not in answer.text
    assert DOTS in page.post(f"{ADDRESS}preview/", FORM).text


def test_without_a_key_the_form_says_so(page: Client, settings: Any) -> None:
    configure(settings, ENCRYPTION_KEYS=[])
    answer = page.post(ADDRESS, {**FORM, "do": "submit"})
    assert answer.status_code == 400
    assert "has no key" in answer.text
    assert PASSWORD not in answer.text
    assert not Task.objects.exists()


def test_a_task_without_its_input_says_so_and_offers_no_retry(page: Client, ann: User) -> None:
    given = {"task_type": "short-lived", "input_data": {"note": "gone", "how": "fails"}}
    task = lifecycle.submit(ann.pk, parse_task(given))
    run_ready()
    shown = page.get(f"/tasks/{task.pk}/").text
    assert "The input was deleted when the task ended." in shown
    assert "gone" not in shown
    assert "Try again" not in shown
    assert "Run again, edited" in shown
    assert page.get(f"/tasks/new/short-lived/?from={task.pk}").status_code == 200
    assert page.get("/tasks/").status_code == 200
    refused = page.post(f"/tasks/{task.pk}/retry/", follow=True)
    assert "Submit a new task instead of a retry." in refused.text
