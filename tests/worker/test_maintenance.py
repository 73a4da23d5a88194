"""The periodic work of a worker, also in a project that lacks what ours has."""

import os
import subprocess
import sys
from pathlib import Path

WITHOUT_SESSIONS = """
from taskyard.server.settings import *
ours = ("taskyard.core", "taskyard.accounts", "django.contrib.auth", "django.contrib.contenttypes")
INSTALLED_APPS = [*ours, "rest_framework_simplejwt.token_blacklist"]
TASKYARD_RETENTION_DAYS = 1
"""
ONE_ROUND = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from taskyard.core import leases
from taskyard.worker import maintenance
worker_id = leases.take(concurrency=1, queues=["default"])
maintenance.purge(worker_id, beyond_id=0)
maintenance.rescue(worker_id)
print(maintenance.ready(["default"], up_to=1))
"""


def test_a_project_without_sessions_has_its_upkeep(tmp_path: Path) -> None:
    (tmp_path / "host_settings.py").write_text(WITHOUT_SESSIONS)
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "host_settings",
        "TASKYARD_HOME": str(tmp_path),
        "DATABASE_URL": f"sqlite:///{tmp_path}/host.sqlite3",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
    }
    ran = subprocess.run(
        [sys.executable, "-c", ONE_ROUND], env=environment, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout) == (0, "{}\n"), ran.stderr
