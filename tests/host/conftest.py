"""The host project as it runs for all tests of a module."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import fresh_database
from tests.host.system import ASGI, Host

StartHost = Callable[..., Host]


@pytest.fixture(scope="module")
def start_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartHost]:
    """`start_host("tests.host_project.settings")`: a migrated project on a fresh database."""
    with ExitStack() as stack:

        def start(settings: str, directory: Path | None = None) -> Host:
            directory = directory or tmp_path_factory.mktemp("host")
            return stack.enter_context(Host(directory, settings, fresh_database(stack)))

        yield start


# A module names its settings in SETTINGS, and its users in PEOPLE.


@pytest.fixture(scope="module")
def host(start_host: StartHost, request: pytest.FixtureRequest) -> Host:
    """The project with a worker."""
    host = start_host(request.module.SETTINGS)
    host.start_worker()
    return host


@pytest.fixture(scope="module")
def url(host: Host) -> str:
    return host.start_web(*ASGI)


@pytest.fixture(scope="module")
def tokens(host: Host, request: pytest.FixtureRequest) -> list[str]:
    return host.make_people(*request.module.PEOPLE)
