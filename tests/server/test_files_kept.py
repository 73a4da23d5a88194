"""The commands that care for files, between two installations."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import fresh_database
from tests.live_system import clean_environment

pytestmark = pytest.mark.servers

FILL = """
from django.contrib.auth import get_user_model
from taskyard.core.models import Task
from taskyard.files.models import FileUse
from taskyard.files.writing import Writer, begin
ann = get_user_model().objects.create_user("ann", None, "password123")
for text in (b"one", b"two"):
    writer = Writer(begin(ann.pk, "a.txt", size=3), is_size_known=True)
    writer.write(text)
    file = writer.complete()
    task = Task.objects.create(owner=ann, task_type="sum", queue="default", has_files=True,
        input_data={"numbers": [1]})
    FileUse.objects.create(task=task, file=file)
"""


class Installation:
    def __init__(self, cwd: Path, environment: dict[str, str]) -> None:
        self.home = Path(environment["TASKYARD_HOME"])
        self._environment = {**clean_environment(), **environment}
        self._cwd = cwd

    def __call__(self, *words: str, code: int = 0) -> str:
        ran = subprocess.run(
            [sys.executable, "-m", "taskyard", *words],
            env=self._environment,
            cwd=self._cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr

    def files(self) -> dict[str, bytes]:
        """The bytes by their keys."""
        root = self.home / "files"
        found = (path for path in root.rglob("*") if path.is_file())
        return {str(path.relative_to(root)): path.read_bytes() for path in found}


@pytest.fixture
def installations(tmp_path: Path) -> Iterator[tuple[Installation, Installation]]:
    """One with two tasks that use a file each, and an empty one."""
    with ExitStack() as stack:
        first, second = (
            Installation(tmp_path, {"TASKYARD_HOME": str(tmp_path / name), **fresh_database(stack)})
            for name in ("first", "second")
        )
        for installation in (first, second):
            installation("migrate", "-v", "0")
        first("manage", "shell", "--no-imports", "-v", "0", "-c", FILL)
        yield first, second


Two = tuple[Installation, Installation]


def test_a_backup_holds_the_files(installations: Two, tmp_path: Path) -> None:
    first, second = installations
    assert "2 files are not in it" in first("backup", "without")
    assert "bytes: 2 files copied, 0 there" in first("backup", "with", "--files", "bytes")
    assert "0 files copied, 2 there already" in first("backup", "with", "--files", "bytes")
    assert "2 files copied" in second("restore", "with", "--files", "bytes")
    assert second.files() == first.files()
    assert "nothing is wrong" in second("reconcile", "--check-digests")
    lost, _ = sorted(second.files())
    (second.home / "files" / lost).unlink()
    (tmp_path / "bytes" / lost).unlink()
    assert f"{lost}: there are no bytes" in second("restore", "with", "--files", "bytes", code=1)


def test_an_export_holds_the_files(installations: Two) -> None:
    first, second = installations
    assert "2 files are left out" in first("export", "without")
    assert "2 file, 2 task" in first("export", "with", "--files", "bytes")
    assert "was begun with --files" in first("export", "with", "--resume", code=2)
    assert "files_needed" in second("import", "with", code=2)
    assert "no_bytes" in second("import", "with", "--files", "elsewhere", code=2)
    assert "2 file, 2 task" in second("import", "with", "--files", "bytes")
    assert sorted(second.files().values()) == [b"one", b"two"]
    assert "nothing is wrong" in second("reconcile", "--check-digests")


def test_differences_are_printed_and_strays_deleted(installations: Two) -> None:
    first, _ = installations
    changed, lost = sorted(first.files())
    stray = "ab/" + "ab" * 16
    for name, data in ((changed, b"ONE"), (stray, b"stray")):
        path = first.home / "files" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        then = time.time() - 4000
        os.utime(path, (then, then))
    printed = first("reconcile", code=1)
    assert f"bytes without a row: {stray}\n" in printed
    assert "2 rows and 3 keys were compared\nbytes without a row: 1\n" in printed
    assert "1 deleted" in first("reconcile", "--delete")
    (first.home / "files" / lost).unlink()
    printed = first("reconcile", "--check-digests", code=1)
    assert f"{lost}\n" in printed
    assert "row without bytes: 1; wrong SHA-256: 1\n" in printed
