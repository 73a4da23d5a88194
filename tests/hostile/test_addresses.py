"""Hostile addresses, parameters and headers."""

import contextlib
import secrets
from urllib.parse import quote

import httpx
import pytest

from tests.hostile.attack import Attack, raw
from tests.live_system import Live

pytestmark = pytest.mark.servers
SUM = {"task_type": "sum", "input_data": {"numbers": [1]}}
NOBODYS = 999_999_999


def test_page_numbers(attack: Attack) -> None:
    """page, page_size and after of 10^20, -1, abc"""
    user = attack.user()
    task_id = user.sum(1)
    attack.settled(user)
    lists = ("/api/tasks/", f"/api/tasks/{task_id}/attempts/", f"/api/tasks/{task_id}/logs/")
    for value in (
        *(
            "-1",
            "abc",
            "1.5",
            "0x1",
            "1e3",
            "+1",
            "%20",
            "%00",
            "true",
            "[1]",
            "%D9%A3",
            "1_0",
            "NaN",
        ),
        *(str(10**20), str(2**63), "9" * 5000, "-0.0", "1%00", "1;DROP", "%FF", "%ED%A0%80"),
    ):
        for path in lists:
            for name in ("page", "page_size", "after", "limit", "offset"):
                attack.get(f"{path}?{name}={value}", 400, user=user)
    for path in lists:
        attack.get(f"{path}?page={2**63 - 1}", 404, user=user)
        attack.get(f"{path}?page=1&page=2", 400, user=user)
        attack.get(f"{path}?page=1&after=1", 400, user=user)
        attack.get(f"{path}?page_size=0", 400, user=user)
        attack.get(f"{path}?page_size=1001", 400, user=user)


def test_filters(attack: Attack) -> None:
    """unknown filters and orderings, U+0000 and surrogates in them"""
    user = attack.user()
    canary = attack.canary()
    for query in (
        *("x=1", "=", "=1", "%00=1", "__class__=1", "owner=1", "owner_id=1", "user=1", "id=1"),
        *("status__in=x", "status=x,y", "status=x", "status=pending&status=x", "status=%00"),
        *("format=xml", f"task_type={canary}", "task_type=%00", "task_type=sum&task_type=sum"),
        *(
            "task_type=sum%00",
            "task_type=" + "x" * 9000,
            "status=" + "x," * 9000,
            "tag=%00",
            "tag=" + "x" * 51,
        ),
        *("ordering=%20", "ordering=owner", "ordering=-", "ordering=--id", "ordering=id,id"),
        *("ordering=owner__password", "ordering=%00", "ordering=?", "ordering=-status"),
        *("created_after=%20", "created_after=x", "created_after=1", "created_after=2024-01-01"),
        *("created_after=2024-13-01T00:00:00Z", "created_before=9999-12-31T23:59:59-23:59"),
        *("created_after=0001-01-01T00:00:00%2B23:59", "created_after=%00", "created_after=2024"),
        *("created_after=2024-01-01T00:00:00Z%00", "created_before=1e400", f"{canary}=1"),
        "&".join(f"k{n}=1" for n in range(2000)),
    ):
        answer = attack.get(f"/api/tasks/?{query}", 400, user=user)
        assert len(answer.content) < 200_000
    for tag in ("%FF", "%ED%A0%80", "%27%22%3B--", "%25", "_", "%5C", quote("<img onerror=1>")):
        attack.get(f"/api/tasks/?tag={tag}", 200, user=user)


def test_ids(attack: Attack) -> None:
    """ids of 10^20, -1, %00, abc: 404 in JSON"""
    user = attack.user()
    for task_id in (
        *(str(10**20), str(10**18), str(2**63 - 1), str(2**63), "9" * 19, "-1", "0", "00", "1.5"),
        *(
            "%00",
            "1%00",
            "abc",
            "%FF",
            "٣",
            "%20",
            "1%0a",
            "%2e%2e",
            "..",
            "1;",
            "null",
            "1e1",
            "9" * 5000,
        ),
    ):
        path = f"/api/tasks/{quote(task_id, safe='%;')}"
        for slash in ("", "/"):
            attack.get(path + slash, 404, user=user)
            attack.send("DELETE", path + slash, 404, user=user)
        for verb in ("cancel", "retry"):
            attack.post(f"{path}/{verb}/", None, 404, user=user)
        for verb in ("attempts", "logs", "events"):
            attack.get(f"{path}/{verb}/", 404, user=user)
    for name in ("%00", "%FF", "x" * 5000, "..", "sum%00", "__class__", "<img onerror=1>"):
        attack.get(f"/api/task-types/{quote(name, safe='%')}/", 404, user=user)
    for path in ("/api/%00", "/api/" + "x" * 20_000, "/api/%FF/", "/api//tasks/", "/api/tasks//"):
        attack.get(path, 404, user=user)


def test_anothers_tasks(attack: Attack) -> None:
    """another's id on every verb: 404, the same bytes and headers as none"""
    owner, stranger = attack.user(), attack.user()
    waiting = owner.submit("sum", {"numbers": [1]}, delay=3600)
    done, failed, cancelled = (
        owner.sum(1),
        owner.submit("refuses", {"text": "no"}),
        owner.submit("sum", {"numbers": [1]}, delay=3600),
    )
    owner.wait(done)
    owner.wait(failed)
    assert owner.http.post(f"/tasks/{cancelled}/cancel/").status_code == 200
    attack.books.state()
    verbs = (
        *(("GET", ""), ("HEAD", ""), ("DELETE", ""), ("PATCH", ""), ("PUT", ""), ("POST", "")),
        *(("POST", "cancel/"), ("POST", "retry/"), ("GET", "attempts/"), ("GET", "logs/")),
        *(("GET", "events/"), ("HEAD", "logs/"), ("GET", "logs/?page=x"), ("GET", "logs/?after=1")),
    )
    conditions = ({}, {"If-None-Match": "*"}, {"Prefer": "wait=1"}, {"Last-Event-ID": "1"})
    for method, verb in verbs:
        for headers in conditions:

            def ask(
                task_id: int, method: str = method, verb: str = verb, headers: dict = headers
            ) -> tuple[int, bytes, dict[str, str]]:
                answer = attack.send(
                    *(method, f"/api/tasks/{task_id}/{verb}", {404, 405, 400}),
                    user=stranger,
                    headers={**headers, "X-Request-ID": "same"},
                )
                shown = {k: v for k, v in answer.headers.items() if k != "date"}
                return answer.status_code, answer.content, shown

            none = ask(NOBODYS)
            assert none[0] in (404, 405) or "page=x" in verb
            for task_id in (waiting, done, failed, cancelled):
                assert ask(task_id) == none, (method, verb, headers)
    listed = attack.get("/api/tasks/", 200, user=stranger).json()
    assert listed["count"] == 0
    events = httpx.stream(
        "GET", f"{attack.live.url}/api/tasks/events/", headers=stranger.http.headers
    )
    with events as stream:
        assert stream.status_code == 200
        assert b"event: task" not in next(stream.iter_raw())
    again = attack.post(
        "/api/tasks/create/", SUM, 201, user=stranger, headers={"Idempotency-Key": "one"}
    )
    attack.settled(stranger)
    mine = owner.http.post("/tasks/create/", json=SUM, headers={"Idempotency-Key": "one"})
    assert mine.json()["id"] != again.json()["id"]
    owner.wait(mine.json()["id"])


def test_injected_fields(attack: Attack) -> None:
    """id, user, status, result, is_staff and the like: 400, or without effect at register"""
    user = attack.user()
    given = {"username": f"injected-{secrets.token_hex(4)}", "password": "password123"}
    rights = {"is_staff": True, "is_superuser": True, "id": 1, "is_active": False}
    attack.post("/api/register/", given | rights, 201)
    row = attack.books.execute(
        "SELECT is_staff, is_superuser, is_active FROM taskyard_accounts_user "
        f"WHERE username = '{given['username']}'"
    )
    assert [bool(each) for each in row[0]] == [False, False, True]
    for name, value in (
        *(("id", 1), ("pk", 1), ("user", 1), ("user_id", 1), ("owner", 1), ("owner_id", 1)),
        *(("status", "completed"), ("result", {"result": 1}), ("is_staff", True), ("attempt", 9)),
        *(("is_superuser", True), ("is_active", True), ("created_at", "2024-01-01T00:00:00Z")),
        *(("retry_of", 1), ("queue", "x"), ("worker", "x"), ("lease_until", None), ("error", None)),
        *(
            ("active_limit", 10**6),
            ("groups", [1]),
            ("user_permissions", [1]),
            ("username_key", "x"),
        ),
    ):
        injected = {name: value}
        attack.post("/api/tasks/create/", {**SUM, **injected}, 400, user=user)
        attack.post("/api/tasks/bulk/", {"tasks": [{**SUM, **injected}]}, 400, user=user)
        attack.post("/api/tasks/bulk/", {"tasks": [SUM], **injected}, 400, user=user)
        inner = {"numbers": [1], **injected}
        attack.post("/api/tasks/create/", {**SUM, "input_data": inner}, 400, user=user)
        name_of_none = {"username": "", "password": "password123", **injected}
        attack.post("/api/register/", name_of_none, 400)
        attack.send("PATCH", "/api/me/", 400, body={"first_name": "a", **injected}, user=user)
        passwords = {"old_password": "password123", "new_password": "password1234"}
        attack.post("/api/me/password/", {**passwords, **injected}, 400, user=user)
    assert attack.get("/api/queues/", 403, user=user).json()["code"] == "permission_denied"
    for verb in ("pause", "resume"):
        attack.post(f"/api/queues/default/{verb}/", None, 403, user=user)


def test_foreign_hosts(attack: Attack, hostile: Live) -> None:
    """a foreign Host: 400; X-Forwarded-Host is not believed"""
    user = attack.user()
    for host in (
        *("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example"),
        *("localhost@evil.example", "evil.example#localhost", "[::1", "localhost:port", "*", "%00"),
        *("a" * 5000, ".localhost", "localhost/..", "10.0.0.1", "0.0.0.0", "<img onerror=1>"),
    ):
        for path in ("/api/tasks/", "/api/docs/", "/api/tasks/events/", "/api/schema/"):
            headers = {"Host": host, "Accept": "application/json"}
            attack.get(path, 400, user=user, headers=headers)
    twice = b"GET /api/schema/ HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    attack.judge(raw(hostile, twice), 400, "two hosts")
    forged = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    created = attack.post("/api/tasks/create/", SUM, 201, user=user, headers=forged)
    assert "evil" not in created.headers["location"]
    attack.settled(user)


def test_odd_headers(attack: Attack) -> None:
    """odd headers: keys, preferences, event ids, conditions, languages"""
    user = attack.user()
    canary = attack.canary()
    for key in ("", "x" * 256, "é", f"{canary}\tx", "ключ", "\x7f", "\x01"):
        headers = [(b"Idempotency-Key", key.encode())]
        for path, body in (("create", SUM), ("bulk", {"tasks": [SUM]})):
            with contextlib.suppress(httpx.LocalProtocolError):
                attack.post(
                    f"/api/tasks/{path}/", body, 400, user=user, headers=headers, hidden=canary
                )
    odd = ("", ",", ";", '"', "\\", "é".encode(), "%00", "x" * 7000, "*", "-1", "1e400", "9" * 4000)
    names = (
        *("Prefer", "If-None-Match", "If-Modified-Since", "Accept", "Accept-Language", "Range"),
        *("X-Request-ID", "Last-Event-ID", "Origin", "Referer", "Cookie", "X-CSRFToken", "Expect"),
        *("X-Forwarded-For", "X-Forwarded-Proto", "X-HTTP-Method-Override", "Accept-Encoding"),
    )
    for name in names:
        for value in odd:
            if name == "Expect" and value == "100-continue":
                continue
            text = value if isinstance(value, bytes) else value.encode()
            attack.get("/api/limits/", 200, user=user, headers=[(name.encode(), text)])
    for authorization in (
        *("Bearer", "Bearer a b", "bearer x", "Bearer " + "x" * 7000, "Bearer a.b.c"),
        *("Basic YTpi", "Token x", "x", "Bearer é".encode(), "Bearer ..", "Bearer null", ",", ""),
    ):
        for path in ("/api/tasks/", "/api/tasks/1/", "/api/me/", "/api/tasks/events/"):
            attack.get(path, 401, headers=[(b"Authorization", authorization)])


def test_event_ids(attack: Attack) -> None:
    """Last-Event-ID of no event: the stream begins anew"""
    user = attack.user()
    for event_id in (
        *("0", "-1", "x", "9" * 19, "9" * 4000, "1:2:3", "1:1:", "9:1:5", "1:9:5,5,5", "0/0/0"),
        *(f"{2**63}", f"{2**63 - 1}", "1:1:1/1:1:1/1", "/1/1", "1:2:1,2,3", "5:1:9", "%00", "١"),
        *("1:" + ",".join("1" * 3000), "0:0:0", "18446744073709551615:18446744073709551615:"),
    ):
        for path in ("/api/tasks/events/",):
            headers = [
                *user.http.headers.multi_items(),
                (b"Last-Event-ID", event_id.encode()),
            ]
            with httpx.stream("GET", attack.live.url + path, headers=headers, timeout=10) as stream:
                attack.sent += 1
                attack.statuses.add(stream.status_code)
                assert stream.status_code == 200, event_id
                assert stream.headers["content-type"].startswith("text/event-stream")
                assert stream.headers["x-content-type-options"] == "nosniff"
                assert next(stream.iter_raw()).startswith(b"retry:"), event_id


def test_what_is_no_http(attack: Attack, hostile: Live) -> None:
    """what is not HTTP, and smuggled requests"""
    before = attack.books.state()
    for request in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"HACK /api/tasks/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/tasks/ HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET /api/tasks/\0 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /api/limits/ HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
        b"GET /api/limits/ HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /api/register/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/register/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1, 2\r\n\r\n",
        b"POST /api/register/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
        + b"9" * 30
        + b"\r\n\r\n",
        b"POST /api/register/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /api/admin HTTP/1.1\r\n\r\n",
        b"POST /api/register/ HTTP/1.1\r\nHost: localhost\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /api/register/ HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x\r\n\r\n",
    ):
        answer = raw(hostile, request)
        attack.judge(answer, {400, 401, 404, 413, 415, 431}, repr(request[:120]))
    assert attack.books.state() == before
    assert httpx.get(f"{hostile.url}/livez").status_code == 200


def test_a_session_cookie_that_is_none(attack: Attack, hostile: Live) -> None:
    """invented session and CSRF cookies: never a 5xx"""
    before = attack.books.state()
    for cookie in (
        *(
            'sessionid="aaaaaaaaaaaa\\000"',
            "sessionid=" + "x" * 5000,
            "sessionid=",
            "sessionid=a b",
        ),
        *(
            'sessionid="\\377\\376aaaaaaaa"',
            'csrftoken="\\000"',
            'messages="\\000"',
            "django_language=%00",
        ),
        *('django_language="\\000"', "sessionid=../../etc/passwd", "=;=;=", "a" * 7000),
    ):
        for path in ("/admin/login/", "/admin/", "/", "/api/docs/", "/admin/x%00/"):
            answer = httpx.get(f"{hostile.url}{path}", headers={"Cookie": cookie})
            attack.sent += 1
            attack.statuses.add(answer.status_code)
            assert answer.status_code < 500, (cookie, path)
            assert answer.headers["x-content-type-options"] == "nosniff"
    assert attack.books.state() == before
