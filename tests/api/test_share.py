"""Links to a task: what they show, until when, and what refuses their tokens."""

import base64
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings as project
from django.contrib.auth.base_user import AbstractBaseUser as User
from django.db import connection
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone

from taskyard.accounts import rate_limit
from taskyard.core import deletion, lifecycle, sharing
from taskyard.core.models import AuditEntry, Task
from taskyard.core.states import Status
from tests.api_client import IN_HOST, ROOT, SCHEME, ApiClient
from tests.fake_worker import FakeWorker

SHOWN = {
    *("task_type", "label", "status", "status_label", "progress", "result", "error"),
    *("created_at", "started_at", "finished_at", "files", "expires_at"),
}
READS = ("shared/", "shared", "shared/events/")
OTHERS = [
    *(("GET", path) for path in ("tasks/", "tasks/events/", "limits/", "task-types/", "queues/")),
    *(("GET", f"tasks/{{id}}/{path}") for path in ("", "logs/", "attempts/", "events/")),
    *(("POST", f"tasks/{{id}}/{path}") for path in ("cancel/", "retry/", "share/")),
    *(("POST", "tasks/create/"), ("POST", "tasks/bulk/"), ("DELETE", "tasks/{id}/")),
    *(() if IN_HOST else (("GET", "me/"), ("PATCH", "me/"), ("GET", "files/"), ("POST", "files/"))),
]


def share(api: ApiClient, task_id: int, **options: Any) -> Any:
    answer = api.post(f"tasks/{task_id}/share/", options)
    assert answer.status_code == 201, answer.content
    return answer.json()


def read(nobody: ApiClient, token: str, path: str = "shared/", **headers: str) -> Any:
    return nobody.get(path, Authorization=f"Bearer {token}", **headers)


@pytest.fixture
def task_id(api: ApiClient) -> int:
    return int(api.create(tags=["private"]).json()["id"])


@pytest.fixture
def refusal(nobody: ApiClient) -> bytes:
    """The body of every refusal."""
    answer = nobody.get("shared/")
    assert answer.status_code == 401
    assert answer.json()["code"] == "share_not_valid"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'
    return bytes(answer.content)


def test_a_link_shows_the_task_to_anybody(
    api: ApiClient, nobody: ApiClient, task_id: int, fake_worker: FakeWorker
) -> None:
    link = share(api, task_id)
    assert set(link) == {"url", "token", "expires_at", "files", "html"}
    assert link["files"] is False
    left = datetime.fromisoformat(link["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=23.9) < left < timedelta(hours=24.1)
    shown = read(nobody, link["token"])
    assert shown.status_code == 200
    assert set(shown.json()) == SHOWN
    assert (shown.json()["status"], shown.json()["task_type"]) == ("pending", "sum")
    assert b"private" not in shown.content
    assert b"numbers" not in shown.content
    fake_worker.end(Status.COMPLETED, result='{"result":6}')
    shown = read(nobody, link["token"])
    assert (shown.json()["status"], shown.json()["result"]) == ("completed", {"result": 6})
    assert shown.json()["expires_at"] == link["expires_at"]
    same = read(nobody, link["token"], If_None_Match=shown.headers["ETag"])
    assert (same.status_code, same.content) == (304, b"")


def test_a_failed_task_shows_why(
    api: ApiClient, nobody: ApiClient, task_id: int, fake_worker: FakeWorker
) -> None:
    token = share(api, task_id)["token"]
    fake_worker.end(Status.ERROR, error_code="broken", error_message="a wheel fell off")
    shown = read(nobody, token, Accept_Language="en").json()
    assert shown["error"] == {"code": "broken", "message": "a wheel fell off"}
    assert (shown["result"], shown["status_label"]) == (None, "Error")


def test_the_answers_are_kept_nowhere_and_are_for_any_origin(
    api: ApiClient, nobody: ApiClient, task_id: int
) -> None:
    made = api.post(f"tasks/{task_id}/share/")
    assert made.headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in made.headers
    for answer in (read(nobody, made.json()["token"]), nobody.get("shared/")):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "noindex" in answer.headers["X-Robots-Tag"]
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert not answer.cookies
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "GET"}
    for path in READS:
        allowed = nobody.ask("OPTIONS", path, **asked)
        assert allowed.status_code == 200
        assert allowed.headers["Access-Control-Allow-Origin"] == "*"
        assert "authorization" in allowed.headers["Access-Control-Allow-Headers"]
        assert "POST" not in allowed.headers["Access-Control-Allow-Methods"]
    for path in ("tasks/", f"tasks/{task_id}/share/"):
        assert "Access-Control-Allow-Origin" not in nobody.ask("OPTIONS", path, **asked).headers


def test_the_token_is_in_no_address_that_a_browser_sends(api: ApiClient, task_id: int) -> None:
    link = share(api, task_id)
    script, element = link["html"].splitlines()
    assert script == '<script src="http://testserver/static/taskyard/progress.js" defer></script>'
    source = f'src="http://testserver{ROOT}shared/" token="{link["token"]}"'
    assert element == f"<taskyard-progress {source}></taskyard-progress>"
    if IN_HOST:
        assert link["url"] is None  # this project has no pages
    else:
        assert link["url"] == f"http://testserver/shared/#{link['token']}"


def test_a_lifetime_is_between_a_second_and_30_days(
    api: ApiClient, nobody: ApiClient, task_id: int
) -> None:
    for seconds in (1, 30 * 24 * 3600):
        assert read(nobody, share(api, task_id, expires_in=seconds)["token"]).status_code == 200
    for wrong in (0, -1, 30 * 24 * 3600 + 1, "3600", 1.5, None, True):
        refused = api.post(f"tasks/{task_id}/share/", {"expires_in": wrong})
        assert (refused.status_code, [*refused.json()]) == (400, ["expires_in"]), wrong
    for wrong in ("yes", 1, None):
        assert api.post(f"tasks/{task_id}/share/", {"files": wrong}).status_code == 400
    assert api.post(f"tasks/{task_id}/share/", {"days": 1}).status_code == 400
    assert api.post(f"tasks/{task_id}/share/", [1]).status_code == 400


def test_an_expired_link_shows_nothing(
    api: ApiClient,
    nobody: ApiClient,
    task_id: int,
    refusal: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token = share(api, task_id, expires_in=60)["token"]
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 59)
    assert read(nobody, token).status_code == 200
    monkeypatch.setattr(time, "time", lambda: now + 61)
    for path in READS:
        refused = read(nobody, token, path)
        assert (refused.status_code, refused.content) == (401, refusal)


def test_no_change_of_a_token_is_accepted(
    api: ApiClient, nobody: ApiClient, task_id: int, refusal: bytes
) -> None:
    token = share(api, task_id)["token"]
    prefix, content = token[:5], token[5:]
    raw = base64.urlsafe_b64decode(content)
    changes = [bytes([*raw[:n], raw[n] ^ 1, *raw[n + 1 :]]) for n in range(len(raw))]
    forged = [prefix + base64.urlsafe_b64encode(changed).decode() for changed in changes]
    forged += [content, prefix, f"tys2_{content}", f"{token}=", token[:-1], f"{token}A"]
    forged += [token.upper(), f"ty_{content}", "x.y.z", "tys1_" + "A" * 56, "tys1_" + "_" * 56]
    with CaptureQueriesContext(connection) as queries:
        for text in forged:
            refused = read(nobody, text)
            assert (refused.status_code, refused.content) == (401, refusal), text
    # A token without our signature is refused before the database is read.
    assert not [query for query in queries if "taskyard_task" in query["sql"]]
    for header in ("", "Bearer", f"Bearer {token} x", f"Basic {token}", token):
        refused = nobody.get("shared/", Authorization=header)
        assert (refused.status_code, refused.content) == (401, refusal), header
    assert read(nobody, token).status_code == 200


def test_another_key_signs_other_tokens(
    api: ApiClient, nobody: ApiClient, task_id: int, refusal: bytes
) -> None:
    token = share(api, task_id)["token"]
    with override_settings(SECRET_KEY="another key, as long as keys have to be for this"):
        assert read(nobody, token).content == refusal
        with override_settings(SECRET_KEY_FALLBACKS=[project.SECRET_KEY]):
            assert read(nobody, token).content == refusal
    old = project.SECRET_KEY
    with override_settings(
        SECRET_KEY="another key, as long as keys have to be for this", SECRET_KEY_FALLBACKS=[old]
    ):
        assert read(nobody, token).status_code == 200


@pytest.mark.parametrize(("method", "path"), OTHERS)
def test_the_token_opens_nothing_else(
    api: ApiClient, nobody: ApiClient, task_id: int, method: str, path: str
) -> None:
    token = share(api, task_id)["token"]
    for scheme in {SCHEME, "Bearer"}:
        refused = nobody.ask(method, path.format(id=task_id), {}, Authorization=f"{scheme} {token}")
        assert refused.status_code == 401, refused.content
    assert Task.objects.count() == 1


def test_an_access_token_opens_no_link(
    api: ApiClient, nobody: ApiClient, task_id: int, refusal: bytes
) -> None:
    share(api, task_id)
    for path in READS:
        assert api.get(path).content == refusal
        assert read(nobody, str(api.access), path).content == refusal


def test_a_new_password_ends_all_links(
    api: ApiClient, nobody: ApiClient, user: User, task_id: int, refusal: bytes
) -> None:
    tokens = [share(api, task_id)["token"] for _ in range(2)]
    user.set_password("another long password")
    user.save()
    for token in tokens:
        refused = read(nobody, token)
        assert (refused.status_code, refused.content) == (401, refusal)


def test_a_suspended_owner_ends_all_links(
    api: ApiClient, nobody: ApiClient, user: User, task_id: int, refusal: bytes
) -> None:
    token = share(api, task_id)["token"]
    type(user)._default_manager.update(is_active=False)
    assert read(nobody, token).content == refusal
    type(user)._default_manager.update(is_active=True)
    assert read(nobody, token).status_code == 200


def test_a_deleted_task_ends_its_links(
    api: ApiClient, nobody: ApiClient, task_id: int, refusal: bytes, fake_worker: FakeWorker
) -> None:
    token = share(api, task_id)["token"]
    fake_worker.end(Status.COMPLETED, result="6")
    task = Task.objects.get(pk=task_id)
    deletion.delete(task)
    assert read(nobody, token).content == refusal
    # A restored database may give the same id to another task of the same owner.
    other_id = int(api.create().json()["id"])
    Task.objects.filter(pk=other_id).update(id=task_id, created_at=timezone.now())
    assert read(nobody, token).content == refusal


def test_only_the_owner_makes_links(
    api: ApiClient, other: ApiClient, nobody: ApiClient, task_id: int
) -> None:
    assert other.post(f"tasks/{task_id}/share/").status_code == 404
    assert nobody.post(f"tasks/{task_id}/share/").status_code == 401
    assert api.post("tasks/999999999/share/").status_code == 404
    Task.objects.filter(pk=task_id).update(owner=None)
    assert api.post(f"tasks/{task_id}/share/").status_code == 404


def test_a_task_without_its_owner_is_shown_no_more(
    api: ApiClient, nobody: ApiClient, task_id: int, refusal: bytes
) -> None:
    token = share(api, task_id)["token"]
    Task.objects.filter(pk=task_id).update(owner=None)
    assert read(nobody, token).content == refusal


def test_links_are_limited_by_the_hour(
    api: ApiClient, task_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "LINKS", (3, 3600))
    key = secrets.token_hex(8)
    monkeypatch.setattr(rate_limit, "_key", lambda *parts: key)
    for _ in range(3):
        share(api, task_id)
    refused = api.post(f"tasks/{task_id}/share/")
    assert (refused.status_code, refused.json()["code"]) == (429, "throttled")
    assert int(refused.headers["Retry-After"]) > 3500
    assert AuditEntry.objects.filter(action="share_task").count() == 3


def test_a_link_leaves_a_line_in_the_audit_and_nothing_else(
    api: ApiClient, user: User, task_id: int
) -> None:
    with CaptureQueriesContext(connection) as queries:
        link = share(api, task_id, expires_in=60, files=True)
    (line,) = AuditEntry.objects.filter(action="share_task")
    assert (line.by_id, line.target) == (user.pk, str(task_id))
    expires_at = datetime.fromisoformat(line.details["expires_at"])
    assert expires_at == datetime.fromisoformat(link["expires_at"])
    assert line.details["files"] is True
    assert not [query for query in queries if link["token"][5:] in query["sql"]]
    assert link["token"] not in str(vars(line))


def test_a_read_is_one_query(api: ApiClient, nobody: ApiClient, task_id: int) -> None:
    token = share(api, task_id, files=True)["token"]
    with CaptureQueriesContext(connection) as queries:
        assert read(nobody, token).status_code == 200
    (query,) = [query["sql"] for query in queries if "SELECT" in query["sql"]]
    assert "input_data" not in query


def test_a_server_without_streams_says_so(api: ApiClient, nobody: ApiClient, task_id: int) -> None:
    refused = read(nobody, share(api, task_id)["token"], "shared/events/")
    assert (refused.status_code, refused.json()["code"]) == (406, "stream_needs_asgi")
    assert refused.headers["Access-Control-Allow-Origin"] == "*"


def test_the_mark_depends_on_owner_and_task(
    new_user: Callable[..., User], user: User, api: ApiClient, task_id: int
) -> None:
    """Two owners with the same password hash have different marks."""
    task = Task.objects.get(pk=task_id)
    twin = new_user("twin")
    marks = {
        sharing.decode(sharing.create(task, owner, seconds=60, files=False).token).mark
        for owner in (user, twin)
    }
    assert len(marks) == 2
    assert lifecycle.cancel(task_id, by_id=user.pk).status == Status.CANCELLED
    assert sharing.read(share(api, task_id)["token"]).task.status == Status.CANCELLED
