"""The views of the streams, on a server that cannot stream and below an endpoint that can."""

from typing import Any

import pytest

from taskyard.live.asgi import FROM_LIVE
from taskyard.server.wsgi_adapter import environ
from tests.api_client import LANGUAGE, ROOT, SCHEME, ApiClient

SCOPE = {
    "method": "GET",
    "raw_path": f"{ROOT}tasks/events/".encode(),
    "query_string": b"",
    "http_version": "1.1",
    "headers": [],
}


def test_a_server_that_cannot_stream_says_so(api: ApiClient) -> None:
    task_id = api.create().json()["id"]
    for path in ("tasks/events/", f"tasks/{task_id}/events/"):
        refused = api.get(path, Accept="text/event-stream, application/problem+json")
        assert refused.status_code == 406
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.json()["code"] == "stream_needs_asgi"
        assert "ASGI" in refused.json()["detail"]


@pytest.mark.parametrize("name", ["taskyard.sse", "Taskyard-Sse", "TASKYARD_SSE"])
def test_no_header_of_a_client_asks_as_the_asgi_server_does(api: ApiClient, name: str) -> None:
    task_id = api.create().json()["id"]
    for path in ("tasks/events/", f"tasks/{task_id}/events/"):
        assert api.get(path, **{name: "1"}).status_code == 406
    headers = [(name.lower().encode(), b"1")]
    assert FROM_LIVE not in environ({**SCOPE, "headers": headers}, b"")


def test_the_asgi_server_learns_whether_the_client_may_have_the_stream(
    api: ApiClient, other: ApiClient, nobody: ApiClient
) -> None:
    task_id = api.create().json()["id"]
    for path in ("tasks/events/", f"tasks/{task_id}/events/"):
        allowed = check(api, path)
        assert (allowed.status_code, allowed.content) == (200, b"")
        refused = api.get(path)
        same = ("Vary", "Content-Language", "X-Content-Type-Options", "Content-Security-Policy")
        assert [allowed.get(name) for name in same] == [refused.get(name) for name in same]
        assert check(nobody, path).status_code == 401
        assert check(api, f"{path}?fields=nope").status_code == 400
    assert check(other, f"tasks/{task_id}/events/").status_code == 404
    assert FROM_LIVE in environ({**SCOPE, FROM_LIVE: True}, b"")


def check(client: ApiClient, path: str) -> Any:
    """The response of the view to an SSE endpoint."""
    headers = {"Authorization": f"{SCHEME} {client.access}"} if client.access else {}
    headers |= LANGUAGE
    return client.client.get(f"{ROOT}{path}", headers=headers, **{FROM_LIVE: True})
