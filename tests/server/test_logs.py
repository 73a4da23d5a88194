"""Web and worker write JSON lines only, or readable lines on a terminal."""

import json
import logging
import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from taskyard.server import logs
from tests.contract.client import User
from tests.live_system import Live, clean_environment

pytestmark = pytest.mark.servers
NOISY = """
import logging, os, subprocess, sys, threading, warnings
from taskyard import task_type

print("printed at import")

@task_type("noisy")
def noisy() -> None:
    print("printed by a handler")
    print("to standard error", file=sys.stderr)
    os.write(1, b"written past Python\\n")
    subprocess.run(["echo", "said by a child"], check=True)
    warnings.warn("this is a warning", stacklevel=1)
    logging.getLogger("authors").warning("two\\nlines %d", 1)
    logging.getLogger("authors").warning("not enough arguments %d %d", 1)
    logging.getLogger("authors").warning("odd", extra={"nan": float("nan"), "big": 10**40})
    threading.Thread(target=lambda: 1 / 0).start()
    raise ValueError("a fault of the author's")
"""


def lines(live: Live) -> list[dict[str, Any]]:
    """Every line of the log; raises if one is not JSON."""
    text = live.log.read_text()
    return [json.loads(line) for line in text.splitlines() if line]


def until(found: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while not (answer := found()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return answer


@pytest.fixture
def noisy(new_live: Callable[..., Live], tmp_path: Path) -> Live:
    (tmp_path / "noisy_tasks.py").write_text(NOISY)
    return new_live(
        PYTHONPATH=f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        TASKYARD_TASK_TYPES="noisy_tasks",
    )


def test_every_line_of_web_and_worker_is_json_whoever_writes_it(noisy: Live) -> None:
    user = User.register(noisy)
    user.wait(user.submit("noisy", max_attempts=1))
    until(lambda: any("ZeroDivisionError" in line.get("traceback", "") for line in lines(noisy)))
    noisy.stop_worker()  # Celery prints this without logging
    noisy.stop_web()
    events = {line["event"] for line in lines(noisy)}
    assert events >= {
        *("printed at import", "printed by a handler", "to standard error"),
        *("written past Python", "said by a child", "two\nlines 1", "odd", "attempt failed"),
    }
    assert any("this is a warning" in event for event in events)
    assert any("not enough arguments" in event for event in events)


def test_each_request_is_one_line_without_its_query(new_live: Callable[..., Live]) -> None:
    live = new_live()
    user = User.register(live)
    task_id = user.sum(1)
    user.wait(task_id)
    user.http.get("/tasks/", params={"tag": "hunter2"}, headers={"X-Request-ID": "listing-1"})
    user.http.get("/tasks/999999999/")
    httpx.get(f"{live.url}/api/me/?token=hunter2", headers={"X-Request-ID": "nobody-1"})
    body = {"task_type": "sum", "input_data": {"numbers": [7]}}
    waiting = {"Prefer": "wait=20", "X-Request-ID": "waiting-1"}
    user.http.post("/tasks/create/", json=body, headers=waiting)
    with user.http.stream("GET", f"/tasks/{task_id}/events/") as stream:
        stream.read()
    owner = user.http.get("/me/").json()["id"]

    def logged() -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for line in lines(live):
            if line["event"] == "request":
                found.setdefault(line["path"], []).append(line)
        return found

    requests = until(lambda: logged() if f"/api/tasks/{task_id}/events/" in logged() else None)
    (listing,) = [each for each in requests["/api/tasks/"] if each["request_id"] == "listing-1"]
    assert (listing["method"], listing["status"], listing["user"]) == ("GET", 200, owner)
    assert 0 < listing["ms"] < 60_000
    (anonymous,) = [each for each in requests["/api/me/"] if each["request_id"] == "nobody-1"]
    assert (anonymous["status"], anonymous["user"]) == (401, None)
    assert requests["/api/tasks/999999999/"][0]["status"] == 404
    creates = requests["/api/tasks/create/"]
    assert [(each["status"], each["user"]) for each in creates] == [(201, owner)] * 2
    assert requests[f"/api/tasks/{task_id}/events/"][0]["user"] == owner
    assert requests["/api/register/"][0]["status"] == 201
    assert "hunter2" not in live.log.read_text()
    assert "password" not in live.log.read_text()


def test_a_probe_has_a_line_only_where_it_is_bad_news(new_live: Callable[..., Live]) -> None:
    live: Live = new_live()
    for path in ("/livez", "/readyz", "/readyz/"):
        assert httpx.get(f"{live.url}{path}").status_code == 200
    assert httpx.post(f"{live.url}/api/token/").status_code == 400
    until(lambda: "/api/token/" in live.log.read_text())
    assert "readyz" not in live.log.read_text()
    assert "livez" not in live.log.read_text()
    live.command("manage", "shell", "--no-imports", "-c", FORGET_A_MIGRATION)
    until(lambda: httpx.get(f"{live.url}/readyz").status_code == 503)
    refused = until(lambda: [line for line in lines(live) if line.get("path") == "/readyz"])
    assert {line["status"] for line in refused} == {503}


FORGET_A_MIGRATION = """
from django.db.migrations.recorder import MigrationRecorder
MigrationRecorder.Migration.objects.filter(app="taskyard").delete()
"""


def test_the_lines_of_requests_can_be_turned_off(new_live: Callable[..., Live]) -> None:
    for settings in ({"TASKYARD_LOG_REQUESTS": "off"}, {"TASKYARD_LOG_LEVEL": "WARNING"}):
        live = new_live(**settings)
        assert httpx.get(f"{live.url}/api/me/").status_code == 401
        live.stop_web()
        assert "/api/me/" not in live.log.read_text()


def test_on_a_terminal_the_lines_are_for_a_person(tmp_path: Path) -> None:
    code = (
        "import logging; from taskyard.server.django_setup import load_django; load_django(); "
        "logging.getLogger('taskyard.x').warning('said \\x1b[31m', extra={'task': 7})"
    )

    def written(**environment: str) -> str:
        main, side = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            env={**clean_environment(), "TASKYARD_HOME": str(tmp_path), **environment},
            stderr=side,
        )
        os.close(side)
        shown = b""
        reading = threading.Thread(target=process.wait)
        reading.start()
        try:
            while piece := os.read(main, 65536):
                shown += piece
        except OSError:
            pass
        os.close(main)
        reading.join()
        return shown.decode()

    line = written()
    assert "WARNING  x: said \\x1b[31m  task=7" in line
    assert "\x1b" not in line
    assert json.loads(written(TASKYARD_LOG_FORMAT="json"))["task"] == 7


def test_no_line_has_a_line_end_of_any_reader_within() -> None:
    record = logging.makeLogRecord({"msg": "a\u2028b\x85c\nd\udc80", "levelname": "INFO"})
    text = logs.JsonLines().format(record)
    assert len(text.splitlines()) == 1
    assert json.loads(text)["event"] == "a\u2028b\x85c\nd\udc80"


def test_a_full_quota_is_no_error_of_the_server(new_live: Callable[..., Live]) -> None:
    live = new_live(TASKYARD_FILES_PER_USER="10", TASKYARD_LOG_LEVEL="INFO")
    refused = User.register(live).http.post("/files/", params={"name": "a"}, content=b"0" * 11)
    assert (refused.status_code, refused.json()["code"]) == (507, "files_limit_exceeded")
    until(lambda: [line for line in lines(live) if line.get("status") == 507])
    assert [line for line in lines(live) if line["level"] in ("ERROR", "CRITICAL")] == []
