"""`taskyard export` and `taskyard import` between installations on both databases."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.live_system import clean_environment

pytestmark = pytest.mark.servers

FILL = """
from datetime import UTC, datetime, timedelta
from django.contrib.auth import get_user_model
from taskyard.core import lifecycle, queues, quotas
from taskyard.core.models import *
from taskyard.core.types import NewTask
ann = get_user_model().objects.create_user("Ann", "ann@example.org", "password123", is_staff=True)
get_user_model().objects.create_user("Борис", None, "password123")
exact = {"z": 2**80, "a": [0.1, -0.0, 1e21, 5e-324], "текст": "Ünï \\u2028 \\U0001f600 \\\\u0000"}
quotas.change_limit(ann.pk, 50, by_id=ann.pk)
for number in range(30):
    new = NewTask("sum", "default", exact | {"n": number}, tags=("ß",), retry_of_id=number or None)
    lifecycle.submit(ann.pk, new)
then = datetime(2025, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ended = dict(ready=False, finished_at=then, created_at=then, started_at=then, claimed_at=then)
tasks = [
    Task(owner=ann, task_type="sum", queue="default", input_data=exact, status="error", fence=2,
        attempt=2, error_code="exception", error_message="нет", **ended)
    for _ in range(20)
]
Task.objects.bulk_create(tasks)
for model, fields in (
    (Attempt, dict(number=1, fence=1, started_at=then, ended_at=then, error_code="retry")),
    (AttemptTraceback, dict(fence=1, exception_type="E", location="a.py:1", text="T\\n1")),
    (AttemptTraceback, dict(fence=2, exception_type="E", location="a.py:1", text="T\\n2")),
    (LogLine, dict(attempt=1, at=then, level="INFO", message="é", dropped=2)),
):
    model.objects.bulk_create(model(task=task, **fields) for task in tasks[::2])
queues.pause("closed", by_id=ann.pk)
"""
COUNTS = """
from taskyard.core.models import *
print([model.objects.count() for model in (Task, Attempt, AttemptTraceback, LogLine, AuditEntry)],
    list(Quota.objects.values_list("active", "error", "active_limit")))
"""


@dataclass(frozen=True)
class Installation:
    cwd: Path
    environment: dict[str, str]

    def start(self, *words: str, **options: Any) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "taskyard", *words],
            env={**clean_environment(), **self.environment},
            cwd=self.cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def __call__(self, *words: str, typed: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        process = self.start(*words)
        out, err = process.communicate(typed, timeout=120)
        return subprocess.CompletedProcess(words, process.returncode, out, err)


@pytest.fixture
def new_installation(tmp_path: Path) -> Iterator[Callable[[str], Installation]]:
    """`new_installation("sqlite")`: runs `taskyard` on a new, migrated database of this kind."""
    with ExitStack() as stack:
        numbers = iter(range(9))

        def make(kind: str) -> Installation:
            environment = {"TASKYARD_HOME": str(tmp_path / f"home{next(numbers)}")}
            if kind == "postgresql":
                url = os.environ["TEST_DATABASE_URL"]
                environment["DATABASE_URL"] = stack.enter_context(servers.database(url))
            taskyard = Installation(tmp_path, environment)
            ok(taskyard("migrate", "-v", "0"))
            return taskyard

        yield make


def ok(ran: "subprocess.CompletedProcess[bytes]") -> str:
    assert ran.returncode == 0, ran.stderr.decode()
    return ran.stdout.decode()


def refused(ran: "subprocess.CompletedProcess[bytes]") -> str:
    assert ran.returncode == 2
    assert ran.stderr.count(b"\n") == 1, ran.stderr.decode()
    return ran.stderr.decode()


def shell(taskyard: Installation, code: str) -> str:
    return ok(taskyard("manage", "shell", "--no-imports", "-v", "0", "-c", code))


def body(file: Path) -> list[bytes]:
    """The lines without the header, which has the source and the time."""
    return file.read_bytes().splitlines(keepends=True)[1:]


def test_from_sqlite_to_postgresql_and_back(
    new_installation: Callable[[str], Installation], tmp_path: Path
) -> None:
    first, second, third = map(new_installation, ("sqlite", "postgresql", "sqlite"))
    shell(first, FILL)
    ran = first("export", "1.jsonl", "--secrets")
    ok(ran)
    assert ran.stderr == b"exported: 2 user, 1 quota, 1 queue, 50 task, 2 audit\n"
    assert (tmp_path / "1.jsonl").stat().st_mode & 0o777 == 0o600
    for number, taskyard in ((1, second), (2, third)):
        printed = ok(taskyard("import", f"{number}.jsonl"))
        assert printed == (
            "imported: 2 user, 1 quota, 1 queue, 50 task, 2 audit; there already: nothing\n"
        )
        ok(taskyard("export", f"{number + 1}.jsonl", "--secrets"))
        assert body(tmp_path / f"{number + 1}.jsonl") == body(tmp_path / "1.jsonl")
        assert shell(taskyard, COUNTS) == "[50, 10, 20, 10, 2] [(30, 20, 50)]\n"
    again = ok(third("import", "2.jsonl"))
    assert again == (
        "imported: nothing; there already: 2 user, 1 quota, 1 queue, 50 task, 2 audit\n"
    )
    assert "ok     migrations" in third("doctor").stdout.decode()


def test_a_file_that_was_cut_anywhere_is_continued(
    new_installation: Callable[[str], Installation], tmp_path: Path
) -> None:
    taskyard = new_installation("postgresql")
    shell(taskyard, FILL)
    ok(taskyard("export", "whole"))
    whole = (tmp_path / "whole").read_bytes()
    cut = tmp_path / "cut"
    first_line = whole.index(b"\n") + 1
    for size in (0, first_line + 1, len(whole) // 2, len(whole) - 1):
        cut.write_bytes(whole[:size])
        ok(taskyard("export", "cut", "--resume"))
        assert body(cut) == whole[first_line:].splitlines(keepends=True)
    # The command that imports names the place of the cut, and the file that is continued is whole.
    cut.write_bytes(whole[: len(whole) // 2])
    target = new_installation("sqlite")
    assert "incomplete_line: the file ends within this line" in refused(target("import", "cut"))
    ok(taskyard("export", "cut", "--resume"))
    assert "50 task" in ok(target("import", "cut"))
    foreign = target("export", "cut", "--resume")
    # A whole file needs nothing.
    assert ok(foreign) == ""
    cut.write_bytes(whole[: len(whole) // 2])
    assert "export of another installation" in refused(target("export", "cut", "--resume"))


def test_pipes_places_and_refusals(
    new_installation: Callable[[str], Installation], tmp_path: Path
) -> None:
    source, target = new_installation("sqlite"), new_installation("sqlite")
    shell(source, FILL)
    out = source("export").stdout
    part = source("export", "--after", "task:48").stdout
    assert [json.loads(line)["kind"] for line in part.splitlines()] == [
        *("header", "task", "task", "audit", "audit", "end"),
    ]
    assert b"password" not in out
    assert "line 7: incomplete_line" in refused(target("import", "-", typed=part + b"x"))
    ok(target("import", "-", typed=out))
    ok(target("import", "-", typed=part))
    assert "this file exists" in refused(source("export", str(tmp_path / "home0/taskyard.sqlite3")))
    assert "No such file" in refused(source("import", "none"))
    assert "No such file" in refused(source("export", "none/a"))
    assert b"expected KIND:ID" in source("export", "--after", "x").stderr
    (tmp_path / "b").write_bytes(out.replace(b'"sum"', b'"countdown"', 1))
    message = refused(target("import", "b"))
    assert message.startswith("taskyard: b: line 6: id_taken: another task has the id 1 here")
    # The reader of a pipe that goes away ends the export with one line.
    process = source.start("export")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (2, b"taskyard: -: the reader has closed the pipe\n")


def test_an_import_killed_at_any_moment_is_run_again(
    new_installation: Callable[[str], Installation], tmp_path: Path
) -> None:
    source, target = new_installation("sqlite"), new_installation("postgresql")
    shell(source, FILL + "Task.objects.bulk_create([Task(owner=ann,"
          " task_type='sum', queue='default', input_data={}, status='error', **ended)"
          " for _ in range(5_000)], batch_size=1000)")  # fmt: skip
    ok(source("export", "all"))
    for seconds in (2.0, 3.0, 4.0):
        killed = target.start("import", "all")
        with suppress(subprocess.TimeoutExpired):
            killed.wait(seconds)
        killed.kill()
        killed.communicate()
    assert "task" in ok(target("import", "all"))
    assert shell(target, COUNTS) == "[5050, 10, 20, 10, 2] [(30, 5020, 50)]\n"
