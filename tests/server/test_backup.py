"""A backup is made while the system runs, and restored without SQL by hand."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import TEST_DB, fresh_database
from tests.contract.client import PASSWORD, User
from tests.live_system import Live, clean_environment

pytestmark = pytest.mark.servers


def taskyard(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "taskyard.server.cli", *words],
        env={**clean_environment(), **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of another, empty installation."""
    with ExitStack() as stack:
        yield {"TASKYARD_HOME": str(tmp_path / "elsewhere"), **fresh_database(stack)}


def where(live: Live) -> dict[str, str]:
    names = ("TASKYARD_HOME", "DATABASE_URL", "REDIS_URL")
    return {name: live.env[name] for name in names if name in live.env}


def shell(live: Live, code: str) -> str:
    return live.command("manage", "shell", "--verbosity", "0", "-c", code)


def test_a_backup_of_a_busy_system_is_restored_elsewhere(
    new_live: Callable[..., Live], elsewhere: dict[str, str], tmp_path: Path
) -> None:
    live = new_live(TASKYARD_ACTIVE_LIMIT="100000")
    user = User.register(live)
    done = user.sum(1, 2)
    user.wait(done)
    busy = threading.Event()

    def submit() -> None:
        while not busy.is_set():
            user.sum(1)

    writer = threading.Thread(target=submit)
    writer.start()
    try:
        made = taskyard("backup", "tasks.backup", cwd=tmp_path, **where(live))
    finally:
        busy.set()
        writer.join()
    assert made.returncode == 0, made.stderr
    file = tmp_path / "tasks.backup"
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in tmp_path.iterdir() if "backup" in each.name) == [file.name]
    restored = taskyard("restore", "tasks.backup", cwd=tmp_path, **elsewhere)
    assert restored.returncode == 0, restored.stderr
    code = (
        "from taskyard.core.models import *; task = Task.objects.get(pk=%d); "
        "print(task.status, Task.objects.count() > 1, User.objects.get(username=%r)"
        ".check_password(%r), Installation.objects.count())"
    )
    words = ("manage", "shell", "--verbosity", "0", "-c", code % (done, user.name, PASSWORD))
    found = taskyard(*words, cwd=tmp_path, **elsewhere)
    assert found.stdout.split()[:3] == ["completed", "True", "True"], found.stderr


def test_a_running_system_is_not_restored_over(live: Live, tmp_path: Path) -> None:
    made = taskyard("backup", "b", cwd=tmp_path, **where(live))
    assert made.returncode == 0, made.stderr
    refused = taskyard("restore", "b", cwd=tmp_path, **where(live))
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "in use" in refused.stderr


def test_a_restore_replaces_all_that_was_there(
    new_live: Callable[..., Live], tmp_path: Path
) -> None:
    live = new_live()
    user = User.register(live)
    kept = user.sum(1)
    user.wait(kept)
    assert taskyard("backup", "b", cwd=tmp_path, **where(live)).returncode == 0
    gone = user.sum(2)
    live.stop_web()
    live.stop_worker()
    restored = taskyard("restore", "b", cwd=tmp_path, **where(live))
    assert restored.returncode == 0, restored.stderr
    live.start_web()
    live.start_worker()
    live.wait_until_ready()
    assert user.task(kept)["status"] == "completed"
    assert user.http.get(f"/tasks/{gone}/").status_code == 404
    assert user.wait(user.sum(3))["result"] == {"result": 3}


def test_changes_numbered_by_another_server_are_mended_by_migrate(
    new_live: Callable[..., Live], tmp_path: Path
) -> None:
    """Set the rows as after a restore by other tools into a cluster with lower transaction ids."""
    live = new_live()
    user = User.register(live)
    task_id = user.submit("countdown", {"seconds": 60}, delay=60)
    if TEST_DB == "sqlite":
        assert "changes" in taskyard("doctor", cwd=tmp_path, **where(live)).stdout
        return
    shell(live, "Task.objects.update(changed=10**15)")
    found = taskyard("doctor", cwd=tmp_path, **where(live)).stdout
    assert "WRONG  changes" in found
    live.command("migrate")
    assert "ok     changes" in taskyard("doctor", cwd=tmp_path, **where(live)).stdout
    assert shell(live, f"print(Task.objects.get(pk={task_id}).changed)").strip() == "0"


@pytest.mark.parametrize("content", [b"", b"nonsense" * 1000, b"PGDMP\x01", b"SQLite format 3\x00"])
def test_what_is_no_backup_is_refused_in_one_line(
    content: bytes, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "b").write_bytes(content)
    refused = taskyard("restore", "b", cwd=tmp_path, **elsewhere)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1, refused.stderr
    assert "no backup of Taskyard" in refused.stderr


def test_a_backup_of_a_newer_version_is_refused(live: Live, tmp_path: Path) -> None:
    recorded = (
        "from django.db import connection as c; "
        "from django.db.migrations.recorder import MigrationRecorder as R; "
    )
    name = "'taskyard', '9999_to_come'"
    shell(live, f"{recorded}R(c).record_applied({name})")
    try:
        assert taskyard("backup", "b", cwd=tmp_path, **where(live)).returncode == 0
    finally:
        shell(live, f"{recorded}R(c).record_unapplied({name})")
    refused = taskyard("restore", "b", cwd=tmp_path, **where(live))
    assert refused.returncode == 2
    assert "newer version: it has taskyard.9999_to_come" in refused.stderr


def test_without_the_tools_of_postgresql_it_says_what_is_missing(tmp_path: Path) -> None:
    missing = taskyard(
        *("backup", "b"),
        cwd=tmp_path,
        TASKYARD_HOME=str(tmp_path),
        DATABASE_URL="postgresql://nobody@127.0.0.1:1/none",
        PATH="/nowhere",
    )
    assert missing.returncode == 2
    assert missing.stderr.count("\n") == 1
    assert "pg_dump is not installed" in missing.stderr


@pytest.mark.parametrize("path", ["/no/such/folder/b", "/proc/b"])
def test_a_file_that_cannot_be_written_is_one_line(live: Live, tmp_path: Path, path: str) -> None:
    refused = taskyard("backup", path, cwd=tmp_path, **where(live))
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("createsuperuser",), ("backup", "b"), ("doctor",), ("manage", "changepassword", "ann"),
        ("manage", "shell", "-v", "0", "-c", "User.objects.count()"),
    ],
)  # fmt: skip
def test_a_command_in_another_folder_is_one_line_and_leaves_nothing(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    ran = taskyard(*words, cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.startswith(f"taskyard: there is no database in {tmp_path}/.taskyard: ")
    assert ran.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_a_command_before_migrate_says_so(elsewhere: dict[str, str], tmp_path: Path) -> None:
    if TEST_DB == "sqlite":
        home = Path(elsewhere["TASKYARD_HOME"])
        home.mkdir()
        (home / "taskyard.sqlite3").touch()
    ran = taskyard("createsuperuser", "--no-input", "--username", "a", cwd=tmp_path, **elsewhere)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert ran.stderr.endswith(": run `taskyard migrate`\n")


def test_migrate_makes_the_folder_of_a_new_home(tmp_path: Path) -> None:
    for key in ({}, {"DJANGO_SECRET_KEY": "kP3vXq9sTz7mWc2LrN8bYd5hJf6gAe4u"}):
        home = tmp_path / f"home{len(key)}"
        ran = taskyard("migrate", "-v", "0", cwd=tmp_path, TASKYARD_HOME=str(home), **key)
        assert ran.returncode == 0, ran.stderr
        assert (home / "taskyard.sqlite3").exists()
