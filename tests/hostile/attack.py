"""Attack a live system with requests, and check every response with the oracle.

The oracle requires JSON, no 5xx, `nosniff`, and after a refusal an unchanged database.
"""

import json
import secrets
import socket
import sqlite3
import time
from collections.abc import Collection
from typing import Any

import httpx
import psycopg

from tests.contract.client import User
from tests.live_system import Live

JSON_TYPES = ("application/json", "application/problem+json")
NOT_OURS = {
    "taskyard_worker",  # a heartbeat every few seconds
    "taskyard_clock",
    "django_migrations",
    "sqlite_sequence",
}


class Books:
    """A direct connection to the database of a live system."""

    def __init__(self, live: Live) -> None:
        if url := live.env.get("DATABASE_URL"):
            self._open: Any = psycopg.connect(url, autocommit=True)
            names = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
            # This number grows with every transaction that writes.
            self._version = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
            row, join = "t::text", "string_agg({0}, chr(10) ORDER BY {0})"
        else:
            path = live.home / "taskyard.sqlite3"
            self._open = sqlite3.connect(path, timeout=10, isolation_level=None)
            names = "SELECT name FROM sqlite_master WHERE type = 'table'"
            self._version = "PRAGMA data_version"
            row, join = "", "group_concat({0})"
        tables = sorted({str(found[0]) for found in self.execute(names)} - NOT_OURS)
        each = []
        for table in tables:
            columns = row or " || ',' || ".join(
                f"ifnull(quote({column[1]}), '')"
                for column in self.execute(f"PRAGMA table_info('{table}')")
            )
            each.append(f"SELECT '{table}', count(*), {join.format(columns)} FROM \"{table}\" t")
        self._state = " UNION ALL ".join(each)
        self._known: tuple[Any, dict[str, tuple[int, str]]] | None = None

    def close(self) -> None:
        self._open.close()

    def execute(self, statement: str) -> list[Any]:
        cursor = self._open.execute(statement)
        return cursor.fetchall() if cursor.description else []

    def state(self) -> dict[str, tuple[int, str]]:
        """The number of rows of each table, and their content."""
        version = self.execute(self._version)
        if self._known is None or self._known[0] != version:
            found = {table: (count, held) for table, count, held in self.execute(self._state)}
            self._known = version, found
        return self._known[1]


class Attack:
    """One row of the hostile table. `send` checks every response with the oracle."""

    def __init__(self, live: Live, secret_texts: set[str]) -> None:
        self.live = live
        self.books = Books(live)
        self.sent = 0
        self.statuses: set[int] = set()
        self.notes: list[str] = []
        self._secret = secret_texts
        self._http = httpx.Client(base_url=live.url, timeout=30)

    def close(self) -> None:
        self._http.close()
        self.books.close()

    def user(self, name: str | None = None) -> User:
        user = User.register(self.live, name)
        self.keep_secret(user.refresh, user.http.headers["Authorization"].split()[1])
        return user

    def keep_secret(self, *texts: str) -> None:
        """Require that the log does not contain these texts at the end."""
        self._secret.update(text for text in texts if len(text) > 20)

    def canary(self) -> str:
        """A unique text, so that a search finds every place that stores it."""
        text = f"canary{secrets.token_hex(8)}"
        self.keep_secret(text)
        return text

    def note(self, text: str) -> None:
        self.notes.append(text)

    def figure(self) -> str:
        parts = [f"{self.sent} requests"] if self.sent else []
        if self.statuses:
            parts.append("answered " + ", ".join(str(status) for status in sorted(self.statuses)))
        return "; ".join([*parts, *self.notes])

    def post(self, path: str, body: Any, expect: int | Collection[int], **options: Any) -> Any:
        return self.send("POST", path, expect, body=body, **options)

    def get(self, path: str, expect: int | Collection[int], **options: Any) -> Any:
        return self.send("GET", path, expect, **options)

    def send(
        self,
        method: str,
        path: str,
        expect: int | Collection[int],
        *,
        body: Any = None,
        user: User | None = None,
        headers: Any = None,
        hidden: str = "",
    ) -> httpx.Response:
        """Send a request; bytes as `body` go unchanged. The response must lack `hidden`."""
        before = self.books.state()
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = [] if content is None else [("Content-Type", "application/json")]
        given = list(headers.items()) if isinstance(headers, dict) else list(headers or [])
        replaced = {name.lower() for name, _ in given}
        sent = [header for header in sent if header[0].lower() not in replaced] + given
        if user is not None and "authorization" not in replaced:
            sent.append(("Authorization", user.http.headers["Authorization"]))
        # Unchanged, because the client itself would normalise the address.
        target = {"target": path.encode()}
        request = self._http.build_request(
            method, "/", content=content, headers=sent, extensions=target
        )
        answer = self._http.send(request)
        what = f"{method} {path[:200]} {(content or b'')[:200]!r} {given!r:.300}"
        self.judge(answer, expect, what)
        if hidden:
            assert hidden not in answer.text, f"{what} is echoed: {answer.text[:300]}"
        after = self.books.state()
        if answer.status_code >= 400:
            changed = {table for table in after if after[table] != before[table]}
            assert not changed, f"{what} was refused and wrote to {changed}"
        return answer

    def judge(self, answer: httpx.Response, expect: int | Collection[int], what: str) -> None:
        expected = {expect} if isinstance(expect, int) else set(expect)
        said = f"{what} -> {answer.status_code} {answer.text[:300]}"
        self.sent += 1
        self.statuses.add(answer.status_code)
        assert answer.status_code < 500, said
        assert answer.status_code in expected, f"{said}, expected {sorted(expected)}"
        assert answer.headers.get("x-content-type-options") == "nosniff", said
        if answer.content:
            assert answer.headers["content-type"].split(";")[0] in JSON_TYPES, said
            answer.json()

    def settled(self, user: User) -> None:
        """Wait until no task of the user runs, so that the database does not change."""
        deadline = time.monotonic() + 20
        while user.http.get("/limits/").json()["active"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def raw(live: Live, *pieces: bytes, seconds: float = 10) -> httpx.Response:
    """Send exactly these bytes over a new socket; return the first response."""
    with socket.create_connection(("127.0.0.1", live.port), timeout=seconds) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
        except OSError:
            pass  # refused before the end; the response is in the buffer
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536) or _closed()
        head, _, body = received.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = httpx.Headers([tuple(line.split(": ", 1)) for line in lines])  # type: ignore[misc]
        length = int(headers.get("content-length", 0))
        while len(body) < length:
            body += connection.recv(65536) or _closed()
    return httpx.Response(int(status.split()[1]), headers=headers, content=body[:length])


def _closed() -> bytes:
    raise AssertionError("the connection was closed without an answer")
