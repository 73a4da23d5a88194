"""Tests that run in a process of their own, with the settings of another project.

The tests of core and of the API pass in the host project too: other users, Django's own engines.
Those of Django tasks have a project with Django tasks.
"""

import os
import subprocess
import sys

import pytest

from tests.servers import ROOT

# These belong to the process that runs this test.
NOT_INHERITED = (
    "DJANGO_SETTINGS_MODULE",
    "PYTEST_CURRENT_TEST",
    "PYTEST_XDIST_WORKER",
    "PYTEST_XDIST_WORKER_COUNT",
    "TEST_REDIS_URL",
    "TEST_SHARDED",
)


@pytest.mark.parametrize(
    ("tests", "project"),
    [
        ("tests/core", "host"),
        ("tests/api", "host"),
        ("tests/contrib/django_tasks", "django-tasks"),
    ],
)
def test_these_pass_in_the_project(tests: str, project: str) -> None:
    environment = {name: v for name, v in os.environ.items() if name not in NOT_INHERITED}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", tests],
        env={**environment, "TEST_PROJECT": project},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-2_000:]
    assert " passed" in ran.stdout
