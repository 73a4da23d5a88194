"""The page does not rely on settings and middleware that a project may lack.

tests/host/test_page.py has a whole project of that kind.
"""

from typing import Any

import pytest
from django.test import Client
from django.urls import resolve, reverse

from taskyard.accounts.models import User
from taskyard.core import lifecycle
from taskyard.core.models import Task
from taskyard.core.types import NewTask

SUM = NewTask(task_type="sum", queue="default", input_data={"numbers": [1]})


def without(settings: Any, middleware: str) -> None:
    settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if not each.endswith(middleware)]


@pytest.mark.parametrize(
    "path", ["/sign-in/", "/register/", "/theme/", "/tasks/change/", "/tasks/new/sum/"]
)
def test_a_form_is_protected_without_the_middleware(settings: Any, ann: User, path: str) -> None:
    without(settings, "SiteCsrf")
    client = Client(enforce_csrf_checks=True)
    if path not in ("/sign-in/", "/register/"):
        client.force_login(ann)
    assert client.post(path).status_code == 403
    client.get("/tasks/new/sum/" if path.startswith("/t") else path)
    form = {"csrfmiddlewaretoken": client.cookies["csrftoken"].value}
    assert client.post(path, form).status_code != 403


def test_an_action_works_without_messages(settings: Any, page: Client) -> None:
    without(settings, "SiteMessages")
    assert page.post("/tasks/change/", {"do": "cancel"}).status_code == 302
    assert page.get("/tasks/").status_code == 200


def test_the_page_needs_no_context_processor(settings: Any, page: Client, ann: User) -> None:
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "OPTIONS": {}}]
    page.post("/tasks/change/", {"do": "cancel"})
    answer = page.get("/tasks/?status=error")
    assert ">ann<" in answer.text
    assert "No task is selected." in answer.text
    assert f'data-owner="{ann.pk}"' in answer.text
    assert 'value="/tasks/?status=error"' in answer.text


def test_ids_have_no_thousands_separators(settings: Any, page: Client, ann: User) -> None:
    settings.USE_THOUSAND_SEPARATOR = True
    task = lifecycle.submit(ann.pk, SUM)
    Task.objects.filter(pk=task.pk).update(id=1234567)
    shown = [page.get(path).text for path in ("/tasks/", "/tasks/1234567/", "/tasks/1234567/part/")]
    shown.append(page.get("/tasks/rows/?ids=1234567&newest=1").text)
    for text in shown:
        assert "1234567" in text
        assert "1,234,567" not in text


def test_a_submit_has_a_transaction_of_its_own(settings: Any) -> None:
    # The view commits, also if something in the project fails after it.
    for name in ("home", "tasks", "change-tasks", "sign-in", "staff-overview", "staff-pause"):
        view = resolve(reverse(f"taskyard_web:{name}")).func
        assert "default" in view._non_atomic_requests  # type: ignore[attr-defined]


def test_the_languages_are_offered_unless_the_project_has_others(
    settings: Any, page: Client
) -> None:
    assert 'value="en" lang="en"' in page.get("/tasks/").text
    settings.LANGUAGES = [("de", "Deutsch"), ("en", "English")]
    assert 'name="language"' not in page.get("/tasks/").text


def test_in_another_language_the_page_is_english_alone(
    settings: Any, page: Client, ann: User
) -> None:
    settings.LANGUAGES = [("de", "Deutsch"), ("en", "English")]
    lifecycle.submit(ann.pk, SUM)
    without(settings, "SiteLocale")
    settings.LANGUAGE_CODE = "de"
    answer = page.get("/tasks/")
    assert answer.headers["Content-Language"] == "en"
    # Django itself translates this word to German.
    assert ">Delete<" in answer.text
    assert '<html lang="en"' in answer.text


def test_a_null_character_is_refused_without_the_middleware(settings: Any, page: Client) -> None:
    without(settings, "SiteQuery")
    for path in ("/tasks/?tag=%00", "/tasks/?q=%00"):
        assert page.get(path).status_code == 400


def test_the_login_may_have_a_query_string(settings: Any) -> None:
    settings.LOGIN_URL = "https://sso.example.org/?for=jobs"
    location = Client().get("/tasks/").headers["Location"]
    assert location == "https://sso.example.org/?for=jobs&next=/tasks/"
