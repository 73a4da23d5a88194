"""Live systems of the host project: its web, its worker, its streams."""

import pytest

from tests.host.test_in_other_projects import Figure, run

# The others of tests/worker passed too when they were run by hand; they take long.
LIVE_SYSTEMS = {
    "deaths of a worker": ("tests/worker/test_deaths.py",),
    "streams": ("tests/contract/test_live.py", "--tier=test"),
}


@pytest.mark.parametrize("tests", LIVE_SYSTEMS)
def test_live_systems_of_the_host_project_pass_these(tests: str, figure: Figure) -> None:
    figure(f"host project, {tests} with processes", run("host", *LIVE_SYSTEMS[tests]))
