"""The API and its streams in a project with UUID users, DRF's tokens and German."""

import signal
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.contract.test_live import states, stream
from tests.host.system import ASGI, PLAIN_ASGI, WSGI, Host, Person

pytestmark = pytest.mark.servers
SUM = {"numbers": [1, 2, 3]}
JOBS = "/internal/jobs"
SETTINGS = "tests.host_project.settings"
PEOPLE = ("ann@example.org", "bob@example.org")


@pytest.fixture(scope="module")
def ann(url: str, tokens: list[str]) -> Person:
    return Person(url + JOBS, tokens[0])


@pytest.fixture(scope="module")
def bob(url: str, tokens: list[str]) -> Person:
    return Person(url + JOBS, tokens[1])


@pytest.fixture(autouse=True)
def nothing_active(ann: Person) -> Iterator[None]:
    yield
    for task_id in ann.http.get("/limits/").json()["tasks"]:
        ann.http.post(f"/tasks/{task_id}/cancel/")


def test_a_task_runs_and_its_owner_alone_sees_it(ann: Person, bob: Person) -> None:
    created = ann.create("sum", SUM, Prefer="wait=20")
    task = created.json()
    assert (created.status_code, task["status"], task["result"]) == (
        201,
        "completed",
        {"result": 6},
    )
    assert created.headers["Preference-Applied"] == "wait=20"
    assert not [name for name in created.headers if name.startswith("x-taskyard")]
    assert created.headers["Location"] == f"{ann.http.base_url}tasks/{task['id']}/"
    assert ann.http.get(created.headers["Location"]).json() == task
    assert ann.http.get("/tasks/").json()["results"][-1] == task
    for path in ("", "events/", "cancel/", "retry/"):
        method = "POST" if path in ("cancel/", "retry/") else "GET"
        refused = bob.http.request(method, f"/tasks/{task['id']}/{path}")
        assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert bob.http.get("/tasks/").json()["count"] == 0


def test_a_task_of_the_projects_own_type_runs_with_the_projects_code(ann: Person) -> None:
    names = {task_type["name"] for task_type in ann.http.get("/task-types/").json()}
    assert {"sum", "countdown", "count-people"} <= names
    done = ann.create("count-people", {}, Prefer="wait=20").json()
    assert done["result"] == {"people": 2, "owner": "ann@example.org"}


def test_a_stream_shows_each_state_and_ends(ann: Person) -> None:
    task_id = ann.create("countdown", {"seconds": 1}).json()["id"]
    with stream(ann, f"/tasks/{task_id}/events/") as reader:  # type: ignore[arg-type]
        events = list(reader)
        assert not [name for name in reader.response.headers if name.startswith("x-taskyard")]
    assert states(events)[-1] == "completed"
    assert events[-1].task == ann.task(task_id)
    with stream(ann) as reader:  # type: ignore[arg-type]
        later = ann.create("sum", SUM).json()["id"]
        assert next(event.task["id"] for event in reader) == later


def test_a_get_waits_for_the_end(ann: Person) -> None:
    task_id = ann.create("countdown", {"seconds": 1}).json()["id"]
    waited = ann.http.get(f"/tasks/{task_id}/?fields=id,status", headers={"Prefer": "wait=20"})
    assert waited.json() == {"id": task_id, "status": "completed"}
    assert waited.headers["Preference-Applied"] == "wait=20"
    short = ann.create("countdown", {"seconds": 60}, Prefer="wait=1")
    assert (short.status_code, short.json()["status"]) == (201, "in_progress")


def test_limits_cancel_and_idempotency(ann: Person) -> None:
    ids = [ann.create("countdown", {"seconds": 600}).json()["id"] for _ in range(5)]
    sixth = ann.create("countdown", {"seconds": 600}, Accept="application/problem+json")
    assert (sixth.status_code, sixth.json()["code"]) == (400, "active_limit_exceeded")
    assert sixth.headers["Content-Type"] == "application/problem+json"
    limits = ann.http.get("/limits/").json()
    assert limits == {"active_limit": 5, "active": 5, "available": 0, "tasks": ids}
    for task_id in ids:
        assert ann.http.post(f"/tasks/{task_id}/cancel/").status_code in (200, 202)
    deadline = time.monotonic() + 20
    while ann.http.get("/limits/").json()["active"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    first = ann.create("sum", SUM, **{"Idempotency-Key": "once"})
    again = ann.create("sum", SUM, **{"Idempotency-Key": "once"})
    assert (again.json()["id"], again.headers["Idempotency-Replayed"]) == (
        first.json()["id"],
        "true",
    )
    other = ann.create("sum", {"numbers": [1]}, **{"Idempotency-Key": "once"})
    assert other.status_code == 422


def test_no_token_and_a_wrong_one_are_refused_as_the_projects_class_does(url: str) -> None:
    nobody, wrong = Person(url + JOBS), Person(url + JOBS, "wrong")
    for path in ("/tasks/", "/limits/", "/tasks/events/", "/tasks/1/events/"):
        for person, code in ((nobody, "not_authenticated"), (wrong, "authentication_failed")):
            refused = person.http.get(path)
            assert (refused.status_code, refused.json()["code"]) == (401, code)
            assert refused.headers["WWW-Authenticate"] == "Token"
    waits = nobody.create("sum", SUM, Prefer="wait=5")
    assert (waits.status_code, "Preference-Applied" in waits.headers) == (401, False)


def test_errors_are_in_one_language(ann: Person) -> None:
    wrong = {"task_type": "sum", "unknown": 1}
    messages = {}
    for language in ("de", "fr", "en", "ru"):
        answer = ann.http.post("/tasks/create/", json=wrong, headers={"Accept-Language": language})
        messages[language] = answer.json()
        expected = "ru" if language == "ru" else "en"
        assert answer.headers["Content-Language"] == expected
        missing = ann.http.get("/nothing/", headers={"Accept-Language": language})
        assert missing.headers["Content-Language"] == expected
        assert (missing.json()["detail"] == "Not found.") == (expected == "en")
    assert messages["de"] == messages["fr"] == messages["en"]
    assert messages["en"] == {
        "unknown": ["This field is not known."],
        "input_data": ["This field is required."],
    }
    assert messages["ru"] != messages["en"]
    task = ann.create("sum", SUM, **{"Accept-Language": "de"}, Prefer="wait=20").json()
    assert task["status_label"] == "Completed"


def test_what_needs_accounts_or_static_files_is_absent(ann: Person) -> None:
    for path in ("register", "token", "token/refresh", "me", "me/password", "docs", "nothing"):
        assert ann.http.get(f"/{path}/").status_code == 404
        assert ann.http.post(f"/{path}/", json={}).status_code == 404
    assert ann.http.get("/queues/").status_code == 403  # these users have no is_staff


def test_the_document_describes_ours_alone_at_its_place(url: str) -> None:
    document = httpx.get(f"{url}{JOBS}/schema/").json()
    assert f"{JOBS}/tasks/create/" in document["paths"]
    assert all(path.startswith(f"{JOBS}/") for path in document["paths"])
    create = document["paths"][f"{JOBS}/tasks/create/"]["post"]
    assert (create["tags"], create["security"]) == (["tasks"], [{"tokenAuth": []}])
    tags = {tag["name"] for tag in document["tags"]}
    assert tags == {"limits", "queues", "shared", "task-types", "tasks"}


@pytest.mark.parametrize("server", [WSGI, PLAIN_ASGI])
def test_without_streams_the_api_says_so(host: Host, tokens: list[str], server: Any) -> None:
    ann = Person(host.start_web(*server) + JOBS, tokens[0])
    created = ann.create("sum", SUM, Prefer="wait=20")
    assert (created.status_code, created.json()["status"]) == (201, "pending")
    assert "Preference-Applied" not in created.headers
    task_id = created.json()["id"]
    for path in ("/tasks/events/", f"/tasks/{task_id}/events/"):
        refused = ann.http.get(path)
        assert (refused.status_code, refused.json()["code"]) == (406, "stream_needs_asgi")
        assert "taskyard.live.with_streams" in refused.json()["detail"]
        assert "\n" not in refused.json()["detail"]


def test_open_streams_end_when_the_server_stops(host: Host, tokens: list[str]) -> None:
    ann = Person(host.start_web(*ASGI) + JOBS, tokens[0])
    server = host.processes[-1]
    with ann.http.stream("GET", "/tasks/events/") as response:
        lines = response.iter_lines()
        assert next(lines).startswith("retry:")
        server.send_signal(signal.SIGTERM)
        assert [line for line in lines if line.startswith("event")] == []
    assert server.wait(10) in (0, -signal.SIGTERM)


def test_a_worker_is_started_as_celery_users_do(host: Host, ann: Person) -> None:
    for command in (
        ("celery", "-A", "taskyard.worker", "worker", "-c", "1", "--loglevel", "INFO"),
        ("taskyard", "worker", "--concurrency", "1"),
    ):
        host.log.write_bytes(b"")
        worker = host.start_worker(*command)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(20) == 0
