"""The environment of the tests, set before Django is loaded, and the live system."""

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import django
import pytest
from django.conf import settings

from taskyard.server.env import VARIABLES
from tests import servers
from tests.running import Live

# TEST_DB=sqlite|postgresql; without `make test` around it, one run starts what it needs itself.
TEST_DB = os.environ.get("TEST_DB", "sqlite")
_servers = ExitStack()

for _variable in VARIABLES:
    os.environ.pop(_variable.name, None)
    os.environ.pop(f"{_variable.name}_FILE", None)

_home = Path(_servers.enter_context(tempfile.TemporaryDirectory(prefix="taskyard-tests-")))
if settings.configured:
    raise pytest.UsageError("unset DJANGO_SETTINGS_MODULE: the tests bring their own environment")
os.environ["DJANGO_SETTINGS_MODULE"] = "taskyard.server.settings"
os.environ["DJANGO_SECRET_KEY"] = secrets.token_urlsafe(48)
os.environ["TASKYARD_HOME"] = str(_home)
os.environ["TASKYARD_LOG_LEVEL"] = "WARNING"
os.environ["TEST_REDIS_URL"] = os.environ["REDIS_URL"] = _servers.enter_context(servers.broker())
if TEST_DB == "postgresql":
    _server = os.environ["TEST_DATABASE_URL"] = _servers.enter_context(servers.postgresql())
    os.environ["DATABASE_URL"] = _servers.enter_context(servers.database(_server))

django.setup()


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """A file, not memory: the tests use threads, and memory has neither WAL nor locks."""
    from django.db import connection

    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = str(_home / "test.sqlite3")


def fresh_database(stack: ExitStack) -> dict[str, str]:
    """The environment of a new, empty database of this run's kind."""
    if TEST_DB == "sqlite":
        return {}
    return {"DATABASE_URL": stack.enter_context(servers.database(os.environ["TEST_DATABASE_URL"]))}


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A running system of its own: web, worker, broker, database, with the defaults."""
    with ExitStack() as stack:
        environment = fresh_database(stack)
        # Contract tests register and log in far more often than a person does.
        environment |= {
            "TASKYARD_TASK_TYPES": "tests.task_types",
            "TASKYARD_REGISTER_RATE": "100000/hour",
            "TASKYARD_LOGIN_RATE": "100000/min",
        }
        yield stack.enter_context(Live(tmp_path_factory.mktemp("live"), environment))


@pytest.fixture
def new_live(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """`new_live(TASKYARD_ACTIVE_LIMIT="1000")`: a live system with an environment of its own."""
    with ExitStack() as stack:

        def start(**environment: str) -> Live:
            started = stack.enter_context(
                Live(
                    tmp_path / secrets.token_hex(4),
                    {
                        "TASKYARD_TASK_TYPES": "tests.task_types",
                        "TASKYARD_REGISTER_RATE": "100000/hour",
                        "TASKYARD_LOGIN_RATE": "100000/min",
                        **fresh_database(stack),
                        **environment,
                    },
                )
            )
            request.node.funcargs["live"] = started
            return started

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    live = getattr(item, "funcargs", {}).get("live")
    if report.failed and isinstance(live, Live):
        report.sections.append(("the live system's log", live.log_tail()))
    return report


def pytest_unconfigure() -> None:
    _servers.close()


_figures = pytest.StashKey[list[str]]()


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Any:
    """`figure("what", "value")`: a measured figure, printed at the end of the run."""
    figures = request.config.stash.setdefault(_figures, [])
    return lambda what, value: figures.append(f"{TEST_DB:<10}  {what}: {value}")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if figures := config.stash.get(_figures, []):
        terminalreporter.section("figures of this run")
        for line in figures:
            terminalreporter.write_line(line)
