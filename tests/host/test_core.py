"""The tests of core pass in the host project too: other users, Django's own engines."""

import os
import subprocess
import sys

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


def test_core_in_the_host_project() -> None:
    environment = {name: v for name, v in os.environ.items() if name not in NOT_INHERITED}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/core"],
        env={**environment, "TEST_PROJECT": "host"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-2_000:]
    assert " passed" in ran.stdout
