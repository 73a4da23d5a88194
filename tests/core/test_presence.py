"""A lock proves that a worker of this machine is dead; host names and process ids do not."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskyard.core.presence import PREFIX

A_WORKER = """
import sys
from taskyard.core.presence import Presence
mine = Presence()
mine.waits("no database")
print("waits", flush=True)
sys.stdin.readline()
mine.renewed(7)
print("renewed", flush=True)
sys.stdin.readline()
"""
A_LOOK = """
import json
from taskyard.core import presence
seen = [[s.worker, s.pid, s.alive, s.state, s.holds_a_lease] for s in presence.seen()]
print(json.dumps([seen, presence.forget_dead()]))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def worker(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", A_WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "waits\n"
    with process:
        yield process
        process.kill()


def look() -> Any:
    """The workers that a new process sees, and those that it forgets as dead."""
    ran = subprocess.run(
        [sys.executable, "-c", A_LOOK], env=os.environ, capture_output=True, text=True, check=True
    )
    return json.loads(ran.stdout)


def renew(worker: "subprocess.Popen[str]") -> None:
    assert worker.stdin
    assert worker.stdout
    worker.stdin.write("go on\n")
    worker.stdin.flush()
    assert worker.stdout.readline() == "renewed\n"


def test_a_worker_is_seen_with_what_it_waits_for(worker: "subprocess.Popen[str]") -> None:
    assert look() == [[[0, worker.pid, True, "no database", False]], []]
    renew(worker)
    assert look() == [[[7, worker.pid, True, "", True]], []]


def test_the_dead_are_known_once(worker: "subprocess.Popen[str]") -> None:
    renew(worker)
    worker.kill()
    worker.wait()
    assert look() == [[[7, worker.pid, False, "", False]], [7]]
    assert look() == [[], []]


@pytest.mark.parametrize("differs", ["boot", "database"])
def test_a_clone_knows_nothing_of_the_dead(
    worker: "subprocess.Popen[str]", folder: Path, differs: str
) -> None:
    renew(worker)
    worker.kill()
    worker.wait()
    (path,) = folder.iterdir()
    path.write_text(json.dumps({**json.loads(path.read_text()), differs: "of another"}))
    assert look() == [[], []]


def test_what_is_no_workers_file_is_nothing(folder: Path) -> None:
    (folder / f"{PREFIX}torn").write_text('{"worker": 7')
    (folder / f"{PREFIX}link").symlink_to("/etc/hostname")
    (folder / f"{PREFIX}folder").mkdir()
    assert look() == [[], []]
