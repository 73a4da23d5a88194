"""What an API key may do: each address, each scope, and own, another's and no objects."""

import re
from typing import Any

import pytest
from django.core.files.storage import storages
from django.test import override_settings
from rest_framework.test import APIRequestFactory

from taskyard.accounts import keys
from taskyard.accounts.models import User
from taskyard.accounts.new_key import NewKey
from taskyard.accounts.scopes import Scope
from taskyard.api.views.base import ApiView
from taskyard.core import lifecycle
from taskyard.core.models import Task
from taskyard.core.states import Status
from tests.api_client import ApiClient
from tests.configured import configure
from tests.core.conftest import new_task
from tests.docs.pages import DOCS, table

PAGE = DOCS / "how-to" / "api-keys.md"
SUM = {"task_type": "sum", "input_data": {"numbers": [1]}}
# Bodies for the requests that need one.
BODIES: dict[str, Any] = {
    "POST tasks/create/": SUM,
    "POST tasks/": SUM,
    "POST tasks/bulk/": {"tasks": [SUM, SUM]},
    "POST files/": b"some text",
    "POST files/presign/": {"name": "film.mp4", "size": 10},
    "POST files/{file_id}/complete/": {},
}
# Without S3 no upload goes past the server; streams need an ASGI server.
ELSEWHERE = {
    "POST files/presign/": 409,
    "GET tasks/events/": 406,
    "GET tasks/{task_id}/events/": 406,
    # For a service account, which this user is not (tests/api/test_subjects.py).
    "GET subjects/": 403,
    "POST subjects/{name}/token/": 403,
}
NONE = 2**40


def requests_of_the_table() -> dict[str, str]:
    """The scope of each request, such as "GET tasks/", by the page."""
    rows = [row for row in table(PAGE) if len(row) == 2 and " /api/" in row[0]]
    return {row[0].strip("`").replace("/api/", ""): row[1].strip("`*") for row in rows}


TABLE = requests_of_the_table()


@pytest.fixture(autouse=True)
def room(settings: Any, tmp_path: Any) -> Any:
    """Room for all tasks, and a folder for files."""
    configure(settings, ACTIVE_LIMIT=10_000)
    entry = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(tmp_path)},
    }
    with override_settings(STORAGES={**storages.backends, "taskyard": entry}):
        yield


def key_of(user: User, *scopes: str, **limits: Any) -> str:
    """A new key of a user."""
    return keys.create(user, NewKey(name="a key", scopes=[*map(Scope, scopes)], **limits))[1]


def with_key(api: ApiClient, key: str) -> ApiClient:
    return ApiClient(api.client, key)


def ended_task(user: User) -> int:
    """A task that can be retried, deleted, and cancelled again."""
    task = lifecycle.submit(user.pk, new_task())
    return lifecycle.cancel(task.pk, by_id=user.pk).pk


def file_of(api: ApiClient) -> int:
    answer = api.ask("POST", "files/?name=a.txt", b"some text", "text/plain")
    assert answer.status_code == 201, answer.content
    return int(answer.json()["id"])


def ask(api: ApiClient, request: str, ids: dict[str, Any]) -> Any:
    method, path = request.format(**ids).split()
    headers = {}
    if path.endswith("/upload/"):
        headers = {"Upload_Offset": "9", "Upload_Complete": "?1"}
    answer = api.ask(method, path, BODIES.get(request), **headers)
    if answer.streaming:
        b"".join(answer)
    return answer


def ids_of(request: str, user: User, api: ApiClient) -> dict[str, Any]:
    """New objects of a user that the request names."""
    made: dict[str, Any] = {"name": "sum" if "task-types" in request else "default"}
    if "{task_id}" in request:
        made["task_id"] = ended_task(user)
    if "{file_id}" in request:
        made["file_id"] = file_of(api)
    if "{key_id}" in request:
        made["key_id"] = keys.create(user, NewKey(name="x", scopes=[Scope.FILES]))[0].pk
    return made


def test_the_table_has_every_address_that_wants_credentials(nobody: ApiClient) -> None:
    paths = nobody.get("schema/").json()["paths"]
    documented = {
        f"{method.upper()} {path.removeprefix('/api/')}"
        for path, operations in paths.items()
        for method, operation in operations.items()
        if any("share" not in scheme for scheme in operation.get("security", ()))
    }
    assert documented == set(TABLE)
    assert set(TABLE.values()) == {
        "any",
        "none",
        "tasks:submit",
        "tasks:read",
        "tasks:cancel",
        "files",
    }


@pytest.mark.parametrize("request_line", TABLE)
def test_each_address_asks_for_the_scope_of_the_table(
    user: User, api: ApiClient, other: ApiClient, nobody: ApiClient, request_line: str
) -> None:
    wanted = TABLE[request_line]
    another = User.objects.get(username="other")
    for scope in Scope:
        client = with_key(api, key_of(user, scope))
        own = ask(client, request_line, ids_of(request_line, user, api))
        refused = wanted not in ("any", scope)
        if refused:
            assert_refused(own, None if wanted == "none" else wanted)
        else:
            elsewhere = ELSEWHERE.get(request_line)
            assert own.status_code == elsewhere if elsewhere else own.status_code < 400, own
        if not re.search(r"\{\w+_id\}", request_line):
            continue
        anothers = ask(client, request_line, ids_of(request_line, another, other))
        none = ask(client, request_line, dict.fromkeys(("task_id", "file_id", "key_id"), NONE))
        assert anothers.content == none.content
        assert anothers.status_code == none.status_code == (403 if refused else 404)
        if refused:
            assert own.content == none.content
    assert ask(nobody, request_line, ids_of(request_line, user, api)).status_code == 401


def assert_refused(answer: Any, scope: str | None) -> None:
    assert answer.status_code == 403, answer.content
    assert answer.json()["code"] == "insufficient_scope"
    challenge = 'Bearer realm="api", error="insufficient_scope"'
    named = f', scope="{scope}"' if scope else ""
    assert answer.headers["WWW-Authenticate"] == challenge + named
    assert (scope or "API") in answer.json()["detail"]


def test_a_view_without_scopes_refuses_every_key(user: User, api: ApiClient) -> None:
    class Plain(ApiView):
        def get(self, request: Any) -> Any:
            raise AssertionError("a key came in")

    key = key_of(user, *Scope)
    request = APIRequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {key}")
    answer = Plain.as_view()(request)
    assert (answer.status_code, answer.data["code"]) == (403, "insufficient_scope")


def test_a_link_with_files_needs_the_scope_of_files(user: User, api: ApiClient) -> None:
    path = f"tasks/{ended_task(user)}/share/"
    with_files = {"files": True}
    assert_refused(with_key(api, key_of(user, "tasks:read")).post(path, with_files), "files")
    both = with_key(api, key_of(user, "tasks:read", "files"))
    assert both.post(path, with_files).status_code == 201


def test_head_needs_the_scope_of_get(user: User, api: ApiClient) -> None:
    assert with_key(api, key_of(user, "tasks:read")).ask("HEAD", "tasks/").status_code == 200
    assert with_key(api, key_of(user, "files")).ask("HEAD", "tasks/").status_code == 403
    assert with_key(api, key_of(user, "files")).ask("HEAD", "files/").status_code == 200


def test_a_method_that_there_is_not_is_405_for_a_key_too(user: User, api: ApiClient) -> None:
    client = with_key(api, key_of(user, "files"))
    assert client.ask("DELETE", "tasks/").status_code == 405
    assert client.ask("OPTIONS", "tasks/").status_code == 200


def test_staff_have_no_key_for_queues_and_metrics(new_user: Any, nobody: ApiClient) -> None:
    staff = new_user("boss", is_staff=True, is_superuser=True)
    client = with_key(nobody, key_of(staff, *Scope))
    assert client.get("queues/").status_code == 403
    assert client.post("queues/default/pause/").status_code == 403
    refused = nobody.client.get(
        "/metrics",
        headers={"Authorization": f"Bearer {client.access}", "X-Forwarded-For": "1.1.1.1"},
    )
    assert refused.status_code == 403


@pytest.fixture
def narrow(user: User, api: ApiClient) -> ApiClient:
    """A client whose key may submit countdowns only."""
    return with_key(api, key_of(user, "tasks:submit", "tasks:read", task_types=["countdown"]))


def problem(answer: Any) -> tuple[int, str, list[str]]:
    told = answer.json()
    return answer.status_code, told["code"], [each["pointer"] for each in told["errors"]]


def test_a_key_submits_its_task_types_only(narrow: ApiClient) -> None:
    assert narrow.create("countdown", input_data={"seconds": 1}).status_code == 201
    countdown = {"task_type": "countdown", "input_data": {"seconds": 1}}
    for path in ("tasks/", "tasks/create/"):
        answer = narrow.post(path, SUM, Accept="application/problem+json")
        assert problem(answer) == (403, "task_type_refused", ["/task_type"])
        assert narrow.post(path, SUM).json() == {
            "task_type": ["Ключ API не может создавать задачи этого типа."]
        }
        assert narrow.post(path, SUM, Idempotency_Key="one").status_code == 403
    many = {"tasks": [countdown, SUM, countdown, SUM]}
    answer = narrow.post("tasks/bulk/", many, Accept="application/problem+json")
    places = ["/tasks/1/task_type", "/tasks/3/task_type"]
    assert problem(answer) == (403, "task_type_refused", places)
    assert narrow.post("tasks/bulk/", {"tasks": [countdown]}).status_code == 201
    assert list(Task.objects.values_list("task_type", flat=True)) == ["countdown"] * 2


def test_a_retry_counts_as_a_submit(narrow: ApiClient, user: User) -> None:
    task_id = ended_task(user)
    refused = narrow.post(f"tasks/{task_id}/retry/")
    assert (refused.status_code, refused.json()["code"]) == (403, "task_type_refused")
    assert narrow.get(f"tasks/{task_id}/").status_code == 200
    created = narrow.create("countdown", input_data={"seconds": 1}).json()
    lifecycle.cancel(created["id"], by_id=user.pk)
    assert narrow.post(f"tasks/{created['id']}/retry/").status_code == 201
    assert Task.objects.filter(status=Status.PENDING).count() == 1
