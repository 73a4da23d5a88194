"""The page in a project with its own login, UUID users, German, and none of our API."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from itertools import takewhile
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.host.conftest import StartHost
from tests.host.system import ASGI, PASSWORD, PLAIN_ASGI, WSGI, Host
from tests.web import browser as web_browser
from tests.web.test_stream import events

pytestmark = pytest.mark.servers
ANN, BOB, BOSS = "ann@example.org", "bob@example.org", "boss@staff.example.org"
PAGE = "/office/jobs"
STAFF = ("", "tasks/", "queues/", "errors/", "users/", "users/?order=active", "audit/")


@pytest.fixture(scope="module")
def host(start_host: StartHost) -> Host:
    host = start_host("tests.host_project.with_page")
    host.run("-m", "django", "collectstatic", "--no-input", "--verbosity", "0")
    host.make_people(ANN, BOB, BOSS)
    host.start_worker()
    return host


@pytest.fixture(scope="module")
def url(host: Host) -> str:
    return host.start_web(*ASGI)


@contextmanager
def signed_in(url: str, email: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30) as client:
        client.get("/sign-in/")
        form = {"username": email, "password": PASSWORD, "next": f"{PAGE}/tasks/"}
        assert post(client, "/sign-in/", **form).status_code == 302
        yield client


@pytest.fixture
def ann(url: str) -> Iterator[httpx.Client]:
    with signed_in(url, ANN) as client:
        yield client


@pytest.fixture
def boss(url: str) -> Iterator[httpx.Client]:
    with signed_in(url, BOSS) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with web_browser.chromium() as browser:
        yield browser


def post(client: httpx.Client, path: str, **form: str) -> httpx.Response:
    return client.post(path, data={**form, "csrfmiddlewaretoken": client.cookies["csrftoken"]})


def submit(client: httpx.Client, task_type: str, **fields: str) -> int:
    """Submit through the form; the task's id."""
    path = f"{PAGE}/tasks/new/{task_type}/"
    form = client.get(path)
    assert form.status_code == 200
    names = {f"/{name}": value for name, value in fields.items()}
    answer = post(client, path, do="submit", priority="normal", **names)
    assert answer.status_code == 302, answer.text
    return int(answer.headers["Location"].rstrip("/").rpartition("/")[2])


def sign_in(page: Page) -> None:
    page.goto(f"{PAGE}/")
    page.fill("input[name=username]", ANN)
    page.fill("input[name=password]", PASSWORD)
    page.click("button")
    page.wait_for_url(f"**{PAGE}/tasks/")


def wait(client: httpx.Client, task_id: int) -> str:
    """The page of the task when it has ended."""
    deadline = time.monotonic() + 30
    while "task-over" not in client.get(f"{PAGE}/tasks/{task_id}/part/").text:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return client.get(f"{PAGE}/tasks/{task_id}/").text


def test_no_check_complains(host: Host) -> None:
    assert "no issues" in host.run("-m", "django", "check")
    assert "No changes" in host.run("-m", "django", "makemigrations", "--check", "--dry-run")


def test_without_the_api_nothing_is_shared(ann: httpx.Client) -> None:
    task_id = submit(ann, "countdown", seconds="60")
    assert f"{task_id}/share/" not in ann.get(f"{PAGE}/tasks/{task_id}/").text
    for path in (f"tasks/{task_id}/share/", "shared/"):
        assert ann.get(f"{PAGE}/{path}").status_code == 404


def test_it_loads_no_app_that_is_not_installed(host: Host) -> None:
    said = host.run(
        "-c",
        "import django, sys; django.setup(); from django.urls import get_resolver;"
        "get_resolver().url_patterns; import taskyard.web.urls, taskyard.web.staff.urls;"
        "print([name for name in sys.modules if name.startswith("
        "('taskyard.api', 'taskyard.accounts', 'taskyard.server', 'celery'))])",
    )
    assert said.strip() == "[]"


def test_the_projects_login_guards_every_page(url: str) -> None:
    for path in ("/", "/tasks/", "/tasks/new/", "/tasks/new/sum/", "/tasks/1/", "/staff/"):
        answer = httpx.get(url + PAGE + path, follow_redirects=True)
        assert "Anmelden" in answer.text, path
    answer = httpx.get(f"{url}{PAGE}/tasks/?status=error")
    assert answer.headers["Location"] == f"/sign-in/?next={PAGE}/tasks/%3Fstatus%3Derror"
    for path in ("/sign-in/", "/register/", "/password/", "/sign-out/"):
        assert httpx.get(url + PAGE + path).status_code == 404


def test_a_task_is_submitted_and_shown(ann: httpx.Client) -> None:
    task_id = submit(ann, "sum", numbers="1\n2.5")
    page = wait(ann, task_id)
    assert ">Completed<" in page
    assert "3.5" in page
    shown = ann.get(f"{PAGE}/tasks/").text
    assert f"{PAGE}/tasks/{task_id}/" in shown
    assert "unrelated" not in shown + page
    with_owner = wait(ann, submit(ann, "count-people"))
    assert f"&quot;owner&quot;: &quot;{ANN}&quot;" in with_owner


def test_it_speaks_english_in_a_german_project(ann: httpx.Client) -> None:
    for path in ("/tasks/", "/tasks/new/", "/tasks/new/countdown/"):
        answer = ann.get(PAGE + path, headers={"Accept-Language": "de"})
        assert '<html lang="en"' in answer.text
        assert answer.headers["Content-Language"] == "en"
    assert "Delete" in answer.text or "Priority" in answer.text
    # Russian has a catalogue, and the project accepts it.
    russian = ann.get(f"{PAGE}/tasks/", headers={"Accept-Language": "ru"})
    assert '<html lang="ru"' in russian.text
    # The project has other languages: its own pages offer the choice.
    assert 'name="language"' not in russian.text


def test_what_was_done_is_said_also_without_the_context_processor(ann: httpx.Client) -> None:
    ann.get(f"{PAGE}/tasks/")
    assert post(ann, f"{PAGE}/tasks/change/", do="cancel").status_code == 302
    assert '<li class="note warning">No task is selected.</li>' in ann.get(f"{PAGE}/tasks/").text


def test_a_refused_submit_leaves_nothing_and_says_why(ann: httpx.Client) -> None:
    path = f"{PAGE}/tasks/new/sum/"
    ann.get(path)
    answer = post(ann, path, do="submit", priority="normal", **{"/numbers": "one"})
    assert answer.status_code == 400
    assert 'aria-invalid="true"' in answer.text


def test_without_the_app_of_files_nothing_of_them_is_shown(
    ann: httpx.Client, boss: httpx.Client
) -> None:
    for client, path in ((ann, "files/"), (ann, "files/upload/"), (boss, "staff/files/")):
        assert client.get(f"{PAGE}/{path}").status_code == 404
    task_id = submit(ann, "sum", numbers="1")
    for path in (f"tasks/{task_id}/", "tasks/", "tasks/new/sum/"):
        shown = ann.get(f"{PAGE}/{path}").text
        assert "/files/" not in shown
        assert "task-files" not in shown
    assert "/files/" not in boss.get(f"{PAGE}/staff/users/").text


def test_error_pages_are_the_projects(ann: httpx.Client, url: str) -> None:
    for path in ("/nowhere/", f"{PAGE}/tasks/999999999/", f"{PAGE}/staff/"):
        missing = ann.get(path)
        assert missing.status_code == 404
        assert "Eine Seite des Projekts: 404" in missing.text
        assert missing.headers["Content-Language"] == "de"
    assert ann.post(f"{PAGE}/tasks/change/").status_code == 403
    assert "Projekts: 403_csrf" in ann.post(f"{PAGE}/tasks/change/").text
    assert ann.get(f"{PAGE}/tasks/?q=%00").status_code == 400


def test_anothers_task_is_not_there(url: str, ann: httpx.Client) -> None:
    task_id = submit(ann, "sum", numbers="1")
    with signed_in(url, BOB) as bob:
        for path in (f"/tasks/{task_id}/", f"/tasks/{task_id}/part/"):
            assert bob.get(PAGE + path).status_code == 404
        assert post(bob, f"{PAGE}/tasks/{task_id}/delete/").status_code == 404
        assert f"{PAGE}/tasks/{task_id}/" not in bob.get(f"{PAGE}/tasks/").text


def test_the_form_shows_no_request_without_our_api(ann: httpx.Client) -> None:
    form = ann.get(f"{PAGE}/tasks/new/sum/").text
    assert "curl" not in form
    assert "preview" not in form.replace('value="preview"', "")


def test_a_theme_is_the_pages_own(ann: httpx.Client) -> None:
    ann.get(f"{PAGE}/tasks/")
    answer = post(ann, f"{PAGE}/theme/", theme="dark", next=f"{PAGE}/tasks/")
    assert "taskyard_theme=dark" in answer.headers["Set-Cookie"]
    assert f"Path={PAGE}/" in answer.headers["Set-Cookie"]
    assert 'data-theme="dark"' in ann.get(f"{PAGE}/tasks/").text


def test_the_stream_tells_only_own_changes(url: str, ann: httpx.Client) -> None:
    (since,) = re.findall(r'/events/\?since=([^"]+)"', ann.get(f"{PAGE}/tasks/").text)
    with signed_in(url, BOB) as bob:
        of_bob = submit(bob, "sum", numbers="1")
    of_ann = submit(ann, "sum", numbers="1")
    with ann.stream("GET", f"{PAGE}/events/?since={since}") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        told = (json.loads(each["data"]) for each in events(response) if each["event"] == "task")
        ids = list(takewhile(lambda each: each != of_ann, (task["id"] for task in told)))
    assert of_bob not in ids
    assert httpx.get(f"{url}{PAGE}/events/").status_code == 302


@pytest.mark.parametrize("server", [PLAIN_ASGI, WSGI], ids=["plain ASGI", "WSGI"])
def test_without_streams_the_server_says_so(host: Host, server: tuple[str, ...]) -> None:
    with signed_in(host.start_web(*server), ANN) as ann:
        assert ann.get(f"{PAGE}/events/").status_code == 406
        assert "x-taskyard-owner" not in ann.get(f"{PAGE}/events/").headers


@pytest.mark.parametrize("server", [ASGI, PLAIN_ASGI], ids=["streams", "no streams"])
def test_a_browser_sees_a_task_end(host: Host, browser: Browser, server: tuple[str, ...]) -> None:
    person = web_browser.Person(browser, host.start_web(*server))
    page = person.page
    sign_in(page)
    page.goto(f"{PAGE}/tasks/new/countdown/")
    page.fill("#input-seconds", "3")
    page.click("main button.primary")
    expect(page.locator("#task-head .state")).to_have_class(re.compile("completed"), timeout=30_000)
    expect(page.locator("connection-state")).to_be_hidden()
    page.goto(f"{PAGE}/tasks/")
    expect(page.locator("live-time").first).to_have_attribute("title", re.compile("UTC"))
    assert person.complaints == []
    person.close()


def test_a_browser_that_is_signed_out_is_led_to_the_projects_login(
    host: Host, browser: Browser
) -> None:
    person = web_browser.Person(browser, host.start_web(*PLAIN_ASGI))
    sign_in(person.page)
    person.context.clear_cookies()
    link = person.page.locator("connection-state a")
    expect(link).to_have_attribute(
        "href", re.compile(rf"/sign-in/\?next={quote(f'{PAGE}/tasks/', safe='')}$"), timeout=15_000
    )
    person.close()


def test_the_staff_pages_show_users_of_any_model(boss: httpx.Client, ann: httpx.Client) -> None:
    wait(ann, submit(ann, "sum", numbers="1"))
    for path in STAFF:
        answer = boss.get(f"{PAGE}/staff/{path}")
        assert answer.status_code == 200, path
        assert "unrelated" not in answer.text, path
        assert '<html lang="en"' in answer.text
    users = boss.get(f"{PAGE}/staff/users/").text
    shown = re.findall(r"owner=[^>]*><bdi>([^<]+)<", users)
    assert shown == [ANN, BOB, BOSS]
    assert "Suspend" not in users
    assert re.findall(r"owner=[^>]*><bdi>([^<]+)<", boss.get(f"{PAGE}/staff/users/?name=BO").text)
    found = boss.get(f"{PAGE}/staff/tasks/?owner={ANN}&status=completed").text
    assert f"<bdi>{ANN}</bdi>" in found
    assert boss.get(f"{PAGE}/staff/tasks/?owner=nobody").status_code == 200
    task_id = re.findall(r"/staff/tasks/(\d+)/", found)[0]
    assert ANN in boss.get(f"{PAGE}/staff/tasks/{task_id}/").text


def test_staff_change_the_limit_of_a_user_with_a_uuid(boss: httpx.Client) -> None:
    page = boss.get(f"{PAGE}/staff/users/?name=bob").text
    (action,) = re.findall(r'action="([^"]+/limit/)"', page)
    assert post(boss, action, limit="7").status_code == 302
    assert "/ 7</td>" in boss.get(f"{PAGE}/staff/users/?name=bob").text
    assert BOB in boss.get(f"{PAGE}/staff/audit/").text
    for other in ("x", "7", "00000000-0000-0000-0000-000000000000"):
        assert post(boss, f"{PAGE}/staff/users/{other}/limit/", limit="7").status_code == 404
    paused = post(boss, f"{PAGE}/staff/queues/pause/", queue="default")
    assert paused.status_code == 302
    assert f"<bdi>{BOSS}</bdi>" in boss.get(f"{PAGE}/staff/queues/").text
    assert post(boss, f"{PAGE}/staff/queues/resume/", queue="default").status_code == 302


def test_the_list_of_users_goes_on_by_name(host: Host, boss: httpx.Client) -> None:
    host.run(
        "-c",
        "import django; django.setup(); from tests.host_project.people.models import Person;"
        "Person.objects.bulk_create(Person(email=f'many-{n:02}&@example.org') for n in range(60))",
    )
    names: list[str] = []
    query = "?name=many-"
    for _ in range(2):
        page = boss.get(f"{PAGE}/staff/users/{query}").text
        names += re.findall(r"<bdi>(many-\d\d)", page)
        query = unescape("".join(re.findall(r'rel="next" href="([^"]+)"', page)))
    assert names == [f"many-{number:02}" for number in range(60)]
    assert query == ""
