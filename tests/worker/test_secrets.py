"""Secrets in a live system: a day's use leaves them in clear in no table and in no log."""

import json
import re
import sqlite3
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from taskyard.server.home import new_encryption_key
from tests.contract.client import User
from tests.live_system import Live, clean_environment, run_python
from tests.secret_types import HOW, MANY, digest

pytestmark = pytest.mark.servers
TYPES = "tests.task_types,tests.live_secret_types"


@pytest.fixture
def start(new_live: Any) -> Any:
    def start(*keys: str, **environment: str) -> Live:
        live: Live = new_live(
            TASKYARD_TASK_TYPES=TYPES,
            TASKYARD_ENCRYPTION_KEYS=",".join(keys) or new_encryption_key(),
            TASKYARD_ACTIVE_LIMIT="1000",
            TASKYARD_SHOW_TRACEBACKS="1",
            TASKYARD_LOG_LEVEL="DEBUG",
            **environment,
        )
        return live

    return start


def stored(database: Path | str) -> str:
    """All rows of all tables, as text."""
    if isinstance(database, Path):
        with sqlite3.connect(database) as connection:
            return "\n".join(connection.iterdump())
    with psycopg.connect(database) as server:
        names = server.execute(
            "SELECT quote_ident(table_name) FROM information_schema.tables "
            "WHERE table_schema = 'public'"
        ).fetchall()
        rows = [
            row
            for (name,) in names
            for row in server.execute(f"SELECT t::text FROM {name} t").fetchall()  # type: ignore[arg-type]
        ]
    return "\n".join(text for (text,) in rows)


def test_a_days_use_leaves_no_secret_in_clear(start: Any, figure: Any) -> None:
    live = start()
    user = User.register(live)
    secrets: list[str] = []
    task_ids: list[int] = []

    def secret() -> str:
        secrets.append(f"S3cr3t-{len(secrets):03}-Ü\"'/?")
        return secrets[-1]

    for how in HOW:
        for attempts in (1, 2):
            given = {"user": "ann", "password": secret(), "how": how}
            task_ids.append(user.submit("signs-in", given, max_attempts=attempts))
    for number in range(3):
        text = json.dumps(MANY).replace("pass-{n}", f"S3cr3t-many-{number}")
        task_ids.append(user.submit("many-secrets", json.loads(text)))
    bulk = [
        {"task_type": "quick-secret", "input_data": {"password": secret(), "fails": n % 2 == 0}}
        for n in range(20)
    ]
    for _ in range(2):
        answer = user.http.post(
            "/tasks/bulk/", json={"tasks": bulk}, headers={"Idempotency-Key": "again"}
        )
        assert answer.status_code == 201, answer.text
    task_ids += answer.json()["ids"]
    task_ids.append(user.submit("short-lived-secret", {"password": secret()}))
    wrong = user.create("signs-in", {"user": 7, "password": secret()})
    assert wrong.status_code == 400
    delayed = user.submit("quick-secret", {"password": secret()}, delay=3600)
    user.http.post(f"/tasks/{delayed}/cancel/")
    ended = user.wait_for_all(task_ids, seconds=60)
    failed = [task["id"] for task in ended.values() if task["status"] == "error"]
    assert len(failed) >= 18
    retried = [user.http.post(f"/tasks/{task_id}/retry/").json()["id"] for task_id in failed[:5]]
    user.wait_for_all(retried, seconds=60)
    answers = [user.http.get(f"/tasks/?page={page}&page_size=50").text for page in (1, 2)]
    for task_id in task_ids:
        for part in ("", "attempts/", "logs/"):
            answers.append(user.http.get(f"/tasks/{task_id}/{part}").text)
    answers.append(user.http.get(f"/tasks/{task_ids[0]}/events/").text)
    answers.append(live.command("export"))
    first = ended[task_ids[0]]
    assert (first["status"], first["result"]) == ("completed", digest(secrets[0]))

    dump, log = stored(live.database), live.log.read_text(errors="replace")
    assert "taskyard-secret:1:" in dump
    assert "attempt failed" in log
    found = re.compile(r"S3cr3t-(?:\d|many)")
    for name, text in (("database", dump), ("log", log), ("answers", "\n".join(answers))):
        lines = [line for line in text.splitlines() if found.search(line)]
        assert not lines, f"{name}: {lines[0][:500]}"
    figure("secrets in clear", f"0 of {len(secrets) + 21} in {len(dump):,} characters of tables")


def test_a_rotation_beside_a_worker_and_a_lost_key(start: Any) -> None:
    former, new = new_encryption_key(), new_encryption_key()
    live = start(former)
    user = User.register(live)
    kept = [user.submit("quick-secret", {"password": f"waits-{n}"}, delay=3600) for n in range(20)]
    live.env["TASKYARD_ENCRYPTION_KEYS"] = f"{new},{former}"
    live.stop_web()
    live.stop_worker()
    live.start_web()
    live.start_worker()
    live.wait_until_ready()
    running = [user.submit("signs-in", {"user": "a", "password": f"p-{n}"}) for n in range(20)]
    said = live.command("rotate-secrets")
    assert "encrypted again: 20; were in clear: 0" in said
    assert "no longer needed" in said
    for number, task_id in enumerate(running):
        assert user.wait(task_id)["result"] == digest(f"p-{number}")
    # Without the former key everything is still readable; with another one nothing is.
    live.env["TASKYARD_ENCRYPTION_KEYS"] = new
    assert "encrypted again: 0" in live.command("rotate-secrets")
    live.env["TASKYARD_ENCRYPTION_KEYS"] = new_encryption_key()
    refused = run_python(live.env, *live.program("rotate-secrets"))
    assert refused.returncode == 1
    assert "cannot be decrypted" in refused.stderr
    live.stop_worker()
    live.start_worker()
    lost = user.submit("quick-secret", {"password": "of another web"})
    task = user.wait(lost)
    assert (task["status"], task["error"]["code"]) == ("error", "secret_unreadable")
    assert "of another web" not in stored(live.database) + live.log.read_text(errors="replace")
    assert all(user.task(task_id)["status"] == "pending" for task_id in kept)


def test_inputs_that_are_not_kept_go_with_every_end(start: Any) -> None:
    live = start(TASKYARD_LEASE_SECONDS="2")
    user = User.register(live)
    note = "Forget-Me-Not"
    ids = [user.submit("short-lived", {"note": note, "how": how}) for how in ("returns", "fails")]
    tasks = [
        {"task_type": "short-lived-quick", "input_data": {"number": 987_654_321}}
        for _ in range(300)
    ]
    ids += user.http.post("/tasks/bulk/", json={"tasks": tasks}).json()["ids"]
    ids.append(user.submit("short-lived", {"note": note}, delay=3600))
    user.http.post(f"/tasks/{ids[-1]}/cancel/")
    running = user.submit("short-lived-secret", {"password": "abcd", "seconds": 60})
    while user.task(running)["status"] == "pending":
        time.sleep(0.02)
    live.kill_worker()
    live.start_worker()
    lost = user.wait(running, seconds=60)
    assert (lost["error"]["code"], lost["input_data"]) == ("worker_lost", None)
    ended = user.wait_for_all(ids, seconds=60)
    assert {task["input_data"] for task in ended.values()} == {None}
    dump = stored(live.database)
    assert note not in dump
    assert "987654321" not in dump


def test_a_key_is_made_beside_an_embedded_database_and_asked_for_otherwise(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    env = {
        **clean_environment(),
        "TASKYARD_HOME": str(home),
        "TASKYARD_TASK_TYPES": "tests.live_secret_types",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "TASKYARD_PROCESS": "worker",
    }
    say = "from taskyard.core import encryption as e; print(e.fault(), len(e.keys()))"
    program = ["-c", f"import django; django.setup(); {say}"]
    env["DJANGO_SETTINGS_MODULE"] = "taskyard.server.settings"
    first = run_python(env, *program)
    assert "None 1" in first.stderr + first.stdout
    key = (home / "encryption-key").read_text()
    assert (home / "encryption-key").stat().st_mode & 0o777 == 0o600
    run_python(env, *program)
    assert (home / "encryption-key").read_text() == key
    env["DATABASE_URL"] = "postgresql://127.0.0.1:1/none"
    refused = run_python(env, "-m", "taskyard.server.cli", "web")
    assert refused.returncode == 2
    assert "TASKYARD_ENCRYPTION_KEYS" in refused.stderr
    assert "signs-in" in refused.stderr
    env["TASKYARD_ENCRYPTION_KEYS"] = "hunter2"
    refused = run_python(env, "-m", "taskyard.server.cli", "web")
    assert refused.returncode == 2
    assert "hunter2" not in refused.stderr
    made = run_python(env, "-m", "taskyard.server.cli", "encryption-key")
    assert len(made.stdout.strip()) == 44
