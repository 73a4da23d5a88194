"""CORS for browser applications of other origins, and HEAD on a stream."""

import httpx
import pytest

from tests.contract.client import User
from tests.live_system import Live

pytestmark = pytest.mark.servers
APP, OTHER = "https://app.example.org", "http://localhost:3000"
EXPOSED = {
    *("location", "etag", "x-request-id", "idempotency-replayed", "retry-after", "link"),
    *("preference-applied", "www-authenticate", "allow"),
    *("accept-ranges", "content-range", "content-disposition", "repr-digest"),
    *("upload-complete", "upload-offset", "upload-limit"),
}
SENT = (
    "authorization,content-type,idempotency-key,prefer,if-match,if-none-match,last-event-id,"
    "x-request-id,on-behalf-of,accept-language,content-disposition,range,if-range,repr-digest,"
    "upload-complete,upload-length,upload-offset"
)


def preflight(live: Live, method: str, path: str, origin: str = APP) -> httpx.Response:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": SENT}
    return httpx.options(f"{live.url}{path}", headers={"Origin": origin, **asked}, timeout=30)


def listed(answer: httpx.Response, name: str) -> set[str]:
    return {word.strip().lower() for word in answer.headers.get(name, "").split(",")}


def is_open_to(answer: httpx.Response, origin: str) -> bool:
    assert "access-control-allow-credentials" not in answer.headers
    return answer.headers.get("access-control-allow-origin") == origin and (
        "origin" in listed(answer, "vary")
    )


def test_an_allowed_origin_uses_all_of_the_api(new_live: type[Live]) -> None:
    live = new_live(TASKYARD_CORS_ORIGINS=f"{APP}, {OTHER}")
    user = User.register(live)
    task_id = user.submit("countdown", {"seconds": 60}, delay=60)
    for method, path in (
        *(("POST", f"/api/{path}") for path in ("register/", "token", "tasks/create/")),
        *(("POST", "/api/tasks/bulk/"), ("GET", "/api/tasks/"), ("PATCH", "/api/me")),
        *(("DELETE", f"/api/tasks/{task_id}/"), ("GET", f"/api/tasks/{task_id}/events/")),
        *(("GET", "/api/tasks/events"), ("HEAD", "/api/schema/"), ("PUT", "/api/tasks/")),
        *(("POST", "/api/files/"), ("PATCH", "/api/files/1/"), ("GET", "/api/files/1/content/")),
    ):
        for origin in (APP, OTHER):
            answer = preflight(live, method, path, origin)
            assert answer.status_code == 200, path
            assert is_open_to(answer, origin), path
            assert method.lower() in listed(answer, "access-control-allow-methods")
            assert {*SENT.split(",")} <= listed(answer, "access-control-allow-headers")
        refused = preflight(live, method, path, "https://evil.example")
        assert "access-control-allow-origin" not in refused.headers
    user.http.headers["Origin"] = APP
    uploaded = user.http.post("/files/", content=b"12345", headers={"Upload-Complete": "?1"})
    file_id = uploaded.json()["id"]
    for answer in (
        uploaded,
        user.http.get(f"/files/{file_id}/content/", headers={"Range": "bytes=1-2"}),
        user.create("sum", {"numbers": [1]}),
        user.http.post("/tasks/", json={"task_type": "sum", "input_data": {"numbers": [1]}},
                       headers={"Prefer": "wait=5"}),
        user.http.get(f"/tasks/{task_id}/"),
        user.http.get(f"/tasks/{task_id}/", headers={"Prefer": "wait=0"}),
        user.http.get("/tasks/?nope=1"),
        user.http.get("/tasks/999999999/"),
        user.http.get("/nope/"),
        user.http.get("/tasks/999999999/events/"),
        user.http.get("/tasks/events/", headers={"Authorization": "Bearer x"}),
        user.http.head("/tasks/events/"),
    ):  # fmt: skip
        assert is_open_to(answer, APP), answer.request
        assert listed(answer, "access-control-expose-headers") >= EXPOSED, answer.request
    for path in ("/tasks/events/", f"/tasks/{task_id}/events"):
        with user.http.stream("GET", path) as stream:
            assert stream.status_code == 200
            assert is_open_to(stream, APP)
            assert listed(stream, "access-control-expose-headers") >= EXPOSED
            assert next(stream.iter_lines()).startswith("retry:")
    user.http.headers["Origin"] = "https://evil.example"
    assert "access-control-allow-origin" not in user.http.get("/tasks/").headers
    page = httpx.get(f"{live.url}/sign-in/", headers={"Origin": APP}, timeout=30)
    assert "access-control-allow-origin" not in page.headers


def test_without_origins_nothing_is_open(live: Live) -> None:
    asked = preflight(live, "GET", "/api/tasks/")
    assert asked.status_code == 200
    assert "GET" in asked.headers["allow"]
    user = User.register(live)
    user.http.headers["Origin"] = APP
    for answer in (asked, user.http.get("/tasks/"), user.http.head("/tasks/events/")):
        assert not {name for name in answer.headers if name.startswith("access-control-")}


def test_head_tells_of_a_stream(live: Live) -> None:
    user = User.register(live)
    task_id = user.submit("countdown", {"seconds": 60}, delay=60)
    for path in ("/tasks/events/", f"/tasks/{task_id}/events/", f"/tasks/{task_id}/events"):
        answer = user.http.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-request-id"]
    assert user.http.head("/tasks/999999999/events/").status_code == 404
    user.http.headers["Authorization"] = "Bearer x"
    refused = user.http.head("/tasks/events/")
    assert (refused.status_code, refused.content) == (401, b"")
