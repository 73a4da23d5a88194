"""The API in a project with sessions, a script name, and odd settings of Django REST Framework."""

from typing import Any

import httpx
import pytest

from tests.contract.test_live import stream
from tests.host.system import PASSWORD, Host, Person

pytestmark = pytest.mark.servers
SUM = {"numbers": [1, 2, 3]}
JOBS = "/team/jobs"
SETTINGS = "tests.host_project.odd_settings"
PEOPLE = ("ann@example.org", "blocked@example.org")
LONG_TAGS = [f"{number:050}" for number in range(10)]


@pytest.fixture(scope="module")
def by_token(url: str, tokens: list[str]) -> Person:
    return Person(url + JOBS, tokens[0])


@pytest.fixture(scope="module")
def by_session(url: str, tokens: list[str]) -> Person:
    """Signed in as in a browser, with the CSRF token that its scripts send."""
    person = Person(url + JOBS)
    form = {"email": "ann@example.org", "password": PASSWORD}
    person.http.get(f"{url}/team/sign-in/")
    csrf = {"X-CSRFToken": person.http.cookies["csrftoken"]}
    assert person.http.post(f"{url}/team/sign-in/", data=form, headers=csrf).status_code == 200
    person.http.headers["X-CSRFToken"] = person.http.cookies["csrftoken"]
    return person


@pytest.mark.parametrize("way", ["by_token", "by_session"])
def test_tasks_streams_and_waits_work(way: str, request: pytest.FixtureRequest) -> None:
    person: Person = request.getfixturevalue(way)
    done = person.create("sum", SUM, Prefer="wait=20")
    task = done.json()
    assert (done.status_code, task["result"]) == (201, {"result": 6}), done.text
    assert done.headers["Location"].endswith(f"{JOBS}/tasks/{task['id']}/")
    seen = person.http.get(f"/tasks/{task['id']}/", headers={"Prefer": "wait=5"})
    assert (seen.json(), seen.headers["Preference-Applied"]) == (task, "wait=5")
    with stream(person, f"/tasks/{task['id']}/events/") as reader:  # type: ignore[arg-type]
        assert [event.task for event in reader] == [task]
    assert [task] == person.http.get("/tasks/", params={"after": task["id"] - 1}).json()["results"]


def test_a_wait_for_a_long_task_is_not_confused_by_compression(by_token: Person) -> None:
    body = {"task_type": "sum", "input_data": SUM, "tags": LONG_TAGS}
    done = by_token.http.post("/tasks/create/", json=body, headers={"Prefer": "wait=20"})
    assert (done.status_code, done.json()["status"]) == (201, "completed")
    plain = by_token.http.get(f"/tasks/{done.json()['id']}/")
    assert plain.headers["Content-Encoding"] == "gzip"
    etag = {"If-None-Match": plain.headers["ETag"]}
    assert by_token.http.get(plain.request.url, headers=etag).status_code == 304
    waited = by_token.http.get(plain.request.url, headers={**etag, "Prefer": "wait=1"})
    assert waited.status_code == 304


def test_a_session_needs_the_csrf_token(by_session: Person) -> None:
    forged = by_session.create("sum", SUM, **{"X-CSRFToken": ""})
    assert (forged.status_code, forged.json()["code"]) == (403, "permission_denied")
    assert by_session.http.get("/limits/").status_code == 200


def test_the_projects_first_class_names_the_status_without_credentials(url: str) -> None:
    for path in ("/limits/", "/tasks/events/"):
        refused = httpx.get(url + JOBS + path)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_authenticated")


def test_the_projects_permissions_hold_in_addition(url: str, tokens: list[str]) -> None:
    blocked = Person(url + JOBS, tokens[1])
    for answer in (
        blocked.create("sum", SUM),
        blocked.create("sum", SUM, Prefer="wait=5"),
        blocked.http.get("/tasks/events/"),
        blocked.http.get("/limits/"),
    ):
        assert answer.status_code == 403
        assert answer.json() == {"detail": "Pay your bill.", "code": "unpaid"}


def test_a_user_without_a_key_owns_no_task(url: str) -> None:
    machine = Person(url + JOBS)
    machine.http.headers["Authorization"] = "Machine"
    task = {"task_type": "sum", "input_data": SUM}
    for answer in (
        machine.create("sum", SUM),
        machine.http.post("/tasks/bulk/", json={"tasks": [task]}),
        machine.http.get("/tasks/"),
        machine.http.get("/tasks/events/"),
        machine.http.get("/limits/"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "user_without_key")


def test_no_other_setting_of_the_project_reaches_the_api(by_token: Person, url: str) -> None:
    for _ in range(3):  # the project's throttle allows one request a day
        assert by_token.http.get("/limits/").json()["active_limit"] == 5  # no camel case
    assert by_token.http.get("/tasks/?limit=1").json()["results"][0]["task_type"] == "sum"
    missing = by_token.http.get("/tasks/999999999/", headers={"Accept": "text/html; version=v1"})
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    form = by_token.http.post("/tasks/create/", data={"task_type": "sum"})
    assert form.status_code == 415
    document = httpx.get(f"{url}{JOBS}/schema/").json()
    assert document["servers"][0]["url"] == "/team"
    assert "/jobs/tasks/{task_id}/" in document["paths"]


def test_the_projects_own_views_are_as_before(url: str, tokens: list[str]) -> None:
    schema = httpx.get(
        f"{url}/team/api/schema/", headers={"Accept": "application/vnd.oai.openapi+json"}
    )
    assert schema.status_code == 200, schema.text
    assert schema.json()["paths"].keys() == {"/api/own/"}
    own = httpx.get(f"{url}/team/api/own/", headers={"Authorization": f"Token {tokens[0]}"})
    assert (own.status_code, own.json()) == (200, {"someKey": "v9"})
    throttled = httpx.get(f"{url}/team/api/own/")
    assert (throttled.status_code, throttled.json()) == (418, {"project": "Throttled"})


def test_a_broken_token_never_becomes_an_error_of_the_server(url: str) -> None:
    for value in ("Token", "Token a b", "Token \xff", "Bearer x", "Basic !"):
        headers: Any = {"Authorization": value.encode("latin-1")}
        for path in ("/limits/", "/tasks/events/"):
            assert httpx.get(url + JOBS + path, headers=headers).status_code in (401, 403)


def test_the_worker_leaves_logging_to_the_project(host: Host) -> None:
    ready = [line for line in host.log.read_text().splitlines() if line.endswith("ready.")]
    assert len(ready) == 1
    assert ready[0].startswith("ODD celery.apps.worker celery@")
