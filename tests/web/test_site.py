"""What all pages share: the language, the menu (also on error pages), the times."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from taskyard.accounts.models import User
from taskyard.core import lifecycle
from taskyard.core.types import NewTask

RUSSIAN, ENGLISH = "Мои задачи", "My tasks"


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        (None, "ru"),
        ("", "ru"),
        ("*", "ru"),
        ("ru-RU,ru;q=0.9,en;q=0.8", "ru"),
        ("de-DE,de;q=0.9,ru;q=0.1", "ru"),
        ("de-DE,de;q=0.9", "en"),
        ("de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7", "en"),
        ("fr, *;q=0.1", "en"),
        ("en-GB", "en"),
        ("kk,ru;q=0.5,en;q=0.4", "ru"),
        ("zz-broken;;;q=x", "ru"),
    ],
)
@pytest.mark.django_db
def test_the_page_speaks_what_the_browser_asks_for(
    ann: User, accepted: str | None, language: str
) -> None:
    headers = {} if accepted is None else {"accept-language": accepted}
    for path in ("/sign-in/", "/nope/", "/admin/login/"):
        answer = Client(headers=headers).get(path)
        assert f'lang="{language}"' in answer.text, path


@pytest.mark.parametrize(("accepted", "language"), [("", "ru"), ("de", "ru"), ("en-GB", "en")])
@pytest.mark.django_db
def test_the_api_stays_russian_unless_asked(accepted: str, language: str) -> None:
    answer = Client(headers={"accept-language": accepted}).get("/api/tasks/")
    assert answer.headers["Content-Language"] == language


def test_a_language_that_was_chosen_is_kept(page: Client) -> None:
    answer = page.post("/language/", {"language": "ru", "next": "/tasks/"})
    assert answer.status_code == 302
    assert int(page.cookies["django_language"]["max-age"]) >= 30 * 24 * 3600
    assert RUSSIAN in page.get("/tasks/").text
    page.post("/language/", {"language": "en", "next": "/tasks/"})
    assert ENGLISH in page.get("/tasks/").text


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/nope/", 404, "Page not found"),
        ("/tasks/?q=%00", 400, "The request is not acceptable"),
        ("/tasks/999999/", 404, "Page not found"),
        ("/staff/", 404, "Page not found"),
    ],
)
def test_a_page_that_is_not_there_has_its_menu(
    page: Client, path: str, status: int, text: str
) -> None:
    answer = page.get(path)
    assert answer.status_code == status
    assert text in answer.text
    assert ">ann<" in answer.text
    for address in ("/tasks/", "/tasks/new/", "/password/"):
        assert f'href="{address}"' in answer.text
    assert "Sign out" in answer.text


def test_an_expired_form_has_its_menu(ann: User) -> None:
    strict = Client(enforce_csrf_checks=True, headers={"accept-language": "en"})
    strict.force_login(ann)
    answer = strict.post("/tasks/change/", {"do": "cancel"})
    assert answer.status_code == 403
    assert "The form has expired" in answer.text
    assert 'href="/tasks/new/"' in answer.text


@pytest.mark.parametrize(("path", "status"), [("/away", 503), ("/faulty", 500)])
def test_an_outage_has_its_menu_and_asks_no_database(
    page: Client, settings: Any, path: str, status: int, django_assert_num_queries: Any
) -> None:
    settings.ROOT_URLCONF = "tests.api.faulty_urls"
    page.raise_request_exception = False
    with django_assert_num_queries(0):
        answer = page.get(path)
    assert answer.status_code == status
    assert "The service is unavailable" in answer.text
    for address in ("/tasks/", "/tasks/new/", "/password/"):
        assert f'href="{address}"' in answer.text


@pytest.mark.django_db
def test_nobody_has_the_menu_of_somebody() -> None:
    answer = Client(headers={"accept-language": "en"}).get("/nope/")
    assert "Page not found" in answer.text
    assert "Sign out" not in answer.text


def test_every_time_names_its_zone_without_a_script(
    ann: User, page: Client, browse: Callable[[User], Client], new_user: Callable[..., User]
) -> None:
    new = NewTask(task_type="sum", queue="default", input_data={"numbers": [1]})
    task = lifecycle.submit(ann.pk, new)
    staff = browse(new_user("boss", is_staff=True))
    for answer in (page.get(f"/tasks/{task.pk}/"), staff.get(f"/staff/tasks/{task.pk}/")):
        assert times_of(answer)
        assert "Time zone of all times: <span>UTC</span>" in answer.text
    for answer in (staff.get("/staff/tasks/"), staff.get("/staff/users/"), staff.get("/staff/")):
        assert times_of(answer)


def times_of(answer: Any) -> list[str]:
    """The times of day on a page. Each is in UTC, as it or the foot of the page says."""
    shown = re.findall(r'data-kind="clock"[^>]*><time datetime="([^"]*)">([^<]*)<', answer.text)
    for moment, text in shown:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", text)
        assert moment[:19].replace("T", " ") == text[:19]
    return [text for _, text in shown]
