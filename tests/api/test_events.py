"""The addresses of the streams on a server that cannot stream."""

from tests.api_client import ApiClient


def test_a_server_that_cannot_stream_says_so(api: ApiClient) -> None:
    task_id = api.create().json()["id"]
    for path in ("tasks/events/", f"tasks/{task_id}/events/"):
        refused = api.get(path, Accept="text/event-stream, application/problem+json")
        assert refused.status_code == 406
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.json()["code"] == "stream_needs_asgi"
        assert "ASGI" in refused.json()["detail"]
