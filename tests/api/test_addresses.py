"""Addresses, methods and media types."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.urls import get_resolver

from tests.api_client import ApiClient

CLOSED = [
    "me", "keys", "limits", "task-types", "task-types/sum", "tasks", "tasks/1", "tasks/1/attempts",
    "tasks/1/logs", "tasks/1/events", "tasks/events", "queues",
]  # fmt: skip


@pytest.mark.parametrize("path", [*CLOSED, "schema", "docs"])
def test_the_slash_at_the_end_is_free(api: ApiClient, path: str) -> None:
    api.create()
    for address in (path, f"{path}/"):
        assert api.get(address).status_code in (200, 403, 404, 406), address


@pytest.mark.parametrize(
    "path",
    [
        "register", "token", "token/refresh", "token/blacklist", "me/password", "keys",
        "tasks/create", "tasks/bulk", "password/reset", "password/reset/confirm",
    ],
)  # fmt: skip
def test_a_post_needs_no_slash_and_is_not_redirected(api: ApiClient, path: str) -> None:
    for address in (path, f"{path}/"):
        assert api.post(address, {}).status_code == 400, address


def test_a_get_may_have_a_body(api: ApiClient) -> None:
    for body in (b'{"a": 1}', b"not json", b"\xff"):
        for content_type in ("application/json", "text/plain"):
            answer = api.ask("GET", "tasks/", body, content_type=content_type)
            assert answer.status_code == 200


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "image/*;q=0", "nonsense", ""])
def test_what_is_accepted_is_never_a_reason_to_refuse(api: ApiClient, accept: str) -> None:
    answer = api.get("tasks/", Accept=accept)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize(
    "authorization", ["", "Basic Og==", "bearer", "Bearer a b", "Bearer x.y.z"]
)
def test_without_a_token_there_is_only_a_401(
    nobody: ApiClient, path: str, authorization: str
) -> None:
    refused = nobody.get(f"{path}/", Authorization=authorization)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="api"'
    told = ["detail", "code", *(["messages"] if authorization == "Bearer x.y.z" else [])]
    assert list(refused.json()) == told


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "tasks/"), ("PUT", "tasks/1/"), ("GET", "tasks/create/"), ("PATCH", "limits/"),
        ("GET", "register/"), ("DELETE", "token/"), ("POST", "me/"),
        ("GET", "tasks/bulk/"), ("DELETE", "tasks/bulk/"), ("GET", "tasks/1/cancel/"),
        ("DELETE", "tasks/1/retry/"), ("POST", "tasks/1/logs/"), ("POST", "tasks/1/attempts/"),
        ("POST", "tasks/events/"), ("PATCH", "tasks/1/"), ("POST", "tasks/1/"),
        ("GET", "tasks/1/share/"),
        ("TRACE", "tasks/"), ("NONSENSE", "tasks/"), ("POST", "schema/"), ("POST", "docs/"),
    ],
)  # fmt: skip
def test_another_method_is_405_in_json(api: ApiClient, method: str, path: str) -> None:
    refused = api.ask(method, path)
    assert refused.status_code == 405
    assert refused.json()["code"] == "method_not_allowed"
    assert method not in refused.headers["Allow"]


def test_head_is_get_without_a_body(api: ApiClient) -> None:
    assert api.ask("HEAD", "tasks/").status_code == 200


def patterns() -> list[str]:
    """An address of every pattern of the API."""
    found = [str(each.pattern) for each in get_resolver("taskyard.api.urls").url_patterns]
    named = (re.sub(r"\(\?P<(task|file|key)_id>[^)]*\)", "1", each) for each in found if each)
    return [re.sub(r"\(.*?\)", "default", each).strip("^").removesuffix("/?\\Z") for each in named]


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("path", patterns())
def test_options_names_what_an_address_knows_to_everybody(
    nobody: ApiClient, path: str, slash: str
) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Bearer"}):
        answer = nobody.ask("OPTIONS", path + slash, **headers)
        assert (answer.status_code, answer.content) == (200, b"")
        allowed = answer.headers["Allow"].split(", ")
        assert "OPTIONS" in allowed
        assert "GET" not in allowed or "HEAD" in allowed
        assert {"GET", "POST", "PATCH", "DELETE"} & {*allowed}
        for method in {"GET", "POST", "PATCH", "DELETE", "PUT"} - {*allowed}:
            assert nobody.ask(method, path + slash).status_code in (401, 405)


def test_options_names_the_methods(nobody: ApiClient) -> None:
    assert {*nobody.ask("OPTIONS", "tasks/").headers["Allow"].split(", ")} == {
        *("GET", "HEAD", "POST", "OPTIONS")
    }
    assert {*nobody.ask("OPTIONS", "tasks/1/").headers["Allow"].split(", ")} == {
        *("GET", "HEAD", "DELETE", "OPTIONS")
    }
    assert nobody.ask("OPTIONS", "nope/").status_code == 404


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["nope", "nope/", "", "tasks/1/nope", "tasks//1", "tasks/1/2/3/"])
def test_an_unknown_address_is_404_in_json(nobody: ApiClient, method: str, path: str) -> None:
    missing = nobody.ask(method, path)
    assert missing.status_code == 404
    assert missing.json() == {"detail": "Не найдено.", "code": "not_found"}


def test_outside_the_api_an_unknown_address_is_a_page(nobody: ApiClient) -> None:
    missing = nobody.client.get("/nope")
    assert missing.status_code == 404
    assert missing.headers["Content-Type"].startswith("text/html")


def test_a_foreign_host_is_refused_in_json(nobody: ApiClient) -> None:
    refused = nobody.get("task-types/", Host="evil.example")
    assert refused.status_code == 400
    assert refused.json()["code"] == "bad_request"


def test_task_types_say_what_they_take_and_give(api: ApiClient) -> None:
    types = api.get("task-types/").json()
    assert {"countdown", "sum"} <= {each["name"] for each in types}
    one = api.get("task-types/countdown/").json()
    assert one in types
    assert one["label"] == "Обратный отсчёт"
    assert one["input_schema"]["properties"]["seconds"]["maximum"] == 3600
    assert one["input_schema"]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    english = api.get("task-types/countdown/", Accept_Language="en").json()
    assert english["label"] == "Countdown"
    assert api.get("task-types/nope/").status_code == 404


def document(nobody: ApiClient) -> Any:
    answer = nobody.get("schema/")
    assert answer.status_code == 200
    return answer.json()


def test_the_document_describes_every_address(nobody: ApiClient) -> None:
    described = document(nobody)
    assert described["openapi"] == "3.1.0"
    assert {path: sorted(operations) for path, operations in described["paths"].items()} == {
        "/api/register/": ["post"], "/api/token/": ["post"], "/api/token/refresh/": ["post"],
        "/api/token/blacklist/": ["post"], "/api/token/verify/": ["post"],
        "/api/password/reset/": ["post"], "/api/password/reset/confirm/": ["post"],
        "/api/me/": ["get", "patch"], "/api/sso/": ["get"],
        "/api/keys/": ["get", "post"], "/api/keys/{key_id}/": ["delete"],
        "/api/subjects/": ["get"], "/api/subjects/{name}/token/": ["post"],
        "/api/me/password/": ["post"], "/api/limits/": ["get"], "/api/task-types/": ["get"],
        "/api/task-types/{name}/": ["get"], "/api/tasks/": ["get", "post"],
        "/api/tasks/create/": ["post"], "/api/tasks/bulk/": ["post"],
        "/api/tasks/{task_id}/": ["delete", "get"], "/api/tasks/{task_id}/cancel/": ["post"],
        "/api/tasks/{task_id}/retry/": ["post"], "/api/tasks/{task_id}/attempts/": ["get"],
        "/api/tasks/{task_id}/logs/": ["get"], "/api/tasks/{task_id}/events/": ["get"],
        "/api/tasks/events/": ["get"], "/api/queues/": ["get"],
        "/api/queues/{name}/pause/": ["post"], "/api/queues/{name}/resume/": ["post"],
        "/api/files/": ["get", "post"], "/api/files/{file_id}/": ["delete", "get"],
        "/api/files/{file_id}/content/": ["get"],
        "/api/files/{file_id}/upload/": ["delete", "patch"],
        "/api/files/presign/": ["post"], "/api/files/{file_id}/complete/": ["post"],
        "/api/tasks/{task_id}/share/": ["post"], "/api/shared/": ["get"],
        "/api/shared/events/": ["get"], "/api/shared/files/{file_id}/content/": ["get"],
    }  # fmt: skip
    names = [
        operation["operationId"]
        for operations in described["paths"].values()
        for operation in operations.values()
    ]
    assert len(set(names)) == len(names)


def test_the_document_knows_the_headers(nobody: ApiClient) -> None:
    paths = document(nobody)["paths"]
    headers = {
        (path, method): {
            each["name"] for each in operation.get("parameters", []) if each["in"] == "header"
        }
        for path, operations in paths.items()
        for method, operation in operations.items()
    }
    acting = {"On-Behalf-Of"}
    assert headers["/api/tasks/create/", "post"] == {"Idempotency-Key", "Prefer"} | acting
    assert headers["/api/tasks/bulk/", "post"] == {"Idempotency-Key"} | acting
    assert headers["/api/tasks/{task_id}/", "get"] == {"If-None-Match", "Prefer"} | acting
    assert headers["/api/tasks/events/", "get"] == {"Last-Event-ID"} | acting
    assert headers["/api/tasks/{task_id}/events/", "get"] == {"Last-Event-ID"} | acting
    assert headers["/api/limits/", "get"] == acting
    assert headers["/api/keys/", "get"] == headers["/api/token/", "post"] == set()
    created = paths["/api/tasks/create/"]["post"]["responses"]["201"]["headers"]
    assert set(created) == {"Idempotency-Replayed", "Location", "Preference-Applied"}
    assert set(paths["/api/tasks/"]["get"]["responses"]["503"]["headers"]) == {"Retry-After"}
    stream = paths["/api/tasks/events/"]["get"]["responses"]["200"]
    assert list(stream["content"]) == ["text/event-stream"]


def test_the_document_gives_each_task_type_its_input(nobody: ApiClient) -> None:
    schemas = document(nobody)["components"]["schemas"]
    create = schemas["TaskCreate"]["discriminator"]["mapping"]["countdown"].rpartition("/")[2]
    input_data = schemas[create]["properties"]["input_data"]["$ref"].rpartition("/")[2]
    seconds = schemas[input_data]["properties"]["seconds"]
    assert (seconds["minimum"], seconds["maximum"]) == (1, 3600)


def test_the_documents_page_loads_nothing_from_elsewhere(nobody: ApiClient) -> None:
    page = nobody.get("docs/").content.decode()
    assert "://" not in page
    local = [part.split('"')[0] for part in page.split("/static/")[1:]]
    assert len(local) == 4
    for name in local:
        path = finders.find(name)
        assert path is not None
        assert Path(str(path)).stat().st_size
