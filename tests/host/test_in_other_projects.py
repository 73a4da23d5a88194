"""Tests that run in a process of their own, with the settings of another project.

The tests of core, API, streams and worker pass in the host project too: other users, Django's own
engines. Those of Django tasks have a project with Django tasks.
"""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.conftest import TEST_DB
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


# Each part beside one database: the same tests run in our own project beside both.
IN_THE_HOST = {
    "sqlite": ("tests/api", "tests/live"),
    "postgresql": ("tests/core", "tests/worker"),
}
Figure = Callable[[str, str], None]


@pytest.mark.parametrize("tests", IN_THE_HOST[TEST_DB])
def test_these_pass_in_the_host_project(tests: str, figure: Figure) -> None:
    figure(f"host project, {tests}", run("host", tests, "-m", "not servers"))


def test_django_tasks_pass_in_a_project_of_django_tasks(figure: Figure) -> None:
    figure("Django tasks", run("django-tasks", "tests/contrib/django_tasks"))


def run(project: str, *arguments: str) -> str:
    """Run pytest in a process of its own; the line of its counts."""
    environment = {name: v for name, v in os.environ.items() if name not in NOT_INHERITED}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *arguments],
        env={**environment, "TEST_PROJECT": project},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-2_000:]
    counts = ran.stdout.splitlines()[-1]
    assert " passed" in counts
    return counts
