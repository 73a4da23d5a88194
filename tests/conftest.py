"""The environment of the tests, set before Django is loaded, and the live system."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
import psycopg
import pytest
from django.conf import settings

from taskyard.accounts.hashers import Argon2
from taskyard.core.types import UserId
from taskyard.server.env import NAMES
from tests import servers, tiers
from tests.host.live import HostLive
from tests.host.system import Host
from tests.live_system import Live
from tests.people import new_user

# TEST_DB=sqlite|postgresql. A process of pytest-xdist has servers and a database of its own.
TEST_DB = os.environ.get("TEST_DB", "sqlite")
# TEST_PROJECT=host: the apps in tests/host_project instead of our own project.
SETTINGS = {
    "own": "taskyard.server.settings",
    "host": "tests.host_project.settings",
    "django-tasks": "tests.contrib.django_tasks.settings",
}
PROJECT = os.environ.get("TEST_PROJECT", "own")
# The live systems of the tests run that project too.
SYSTEM = HostLive if PROJECT == "host" else Live
# Their tasks would be task types of every test (tests/host/test_in_other_projects.py runs them).
collect_ignore = [] if PROJECT == "django-tasks" else ["contrib/django_tasks"]
if PROJECT == "host":
    # Some of them cannot even be imported without our apps.
    collect_ignore += [name.removeprefix("tests/") for name in tiers.NOT_IN_HOST]
_servers = ExitStack()

# Under pytest-xdist the first process runs no tests, and the others inherit its environment.
RUNS_TESTS = "TEST_SHARDED" not in os.environ or "PYTEST_XDIST_WORKER" in os.environ

if RUNS_TESTS:
    for _name in NAMES:
        os.environ.pop(_name, None)
        os.environ.pop(f"{_name}_FILE", None)

    _home = Path(_servers.enter_context(tempfile.TemporaryDirectory(prefix="taskyard-tests-")))
    if settings.configured:
        raise pytest.UsageError(
            "unset DJANGO_SETTINGS_MODULE: the tests bring their own environment"
        )
    os.environ["DJANGO_SETTINGS_MODULE"] = SETTINGS[PROJECT]
    os.environ["DJANGO_SECRET_KEY"] = secrets.token_urlsafe(48)
    os.environ["TASKYARD_HOME"] = str(_home)
    os.environ["TASKYARD_LOG_LEVEL"] = "WARNING"
    os.environ["TEST_REDIS_URL"] = os.environ["REDIS_URL"] = _servers.enter_context(
        servers.broker()
    )
    if TEST_DB == "postgresql":
        _server = os.environ["TEST_DATABASE_URL"] = _servers.enter_context(servers.postgresql())
        os.environ["DATABASE_URL"] = _servers.enter_context(servers.database(_server))

    django.setup()
    # Hashing in this process is fast; live systems use the real hasher.
    Argon2.time_cost, Argon2.memory_cost = 1, 64

# Contract tests register and log in far more often than people do.
USUAL = {
    "TASKYARD_TASK_TYPES": "tests.task_types,tests.web.file_types",
    "TASKYARD_REGISTER_RATE": "100000/hour",
    "TASKYARD_LOGIN_RATE": "100000/min",
    "TASKYARD_HASHING_QUEUE": "1000",
}


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Use a file, because threads need WAL and locks, which an in-memory database lacks."""
    from django.db import connection

    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = str(_home / "test.sqlite3")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Read the installation's id outside of the tests' transactions, which are rolled back."""
    from django.db import connection

    from taskyard.core.installation import installation_id

    with django_db_blocker.unblock():
        installation_id()
    yield
    # Threads of the product keep their connections; the database can be dropped anyway.
    if connection.vendor == "postgresql":
        with psycopg.connect(os.environ["TEST_DATABASE_URL"], autocommit=True) as server:
            server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [connection.settings_dict["NAME"]],
            )
        connection.close()


@pytest.fixture
def owner_id(db: None) -> UserId:
    return new_user("owner").pk


@pytest.fixture
def secret_types(settings: Any) -> Iterator[Any]:
    """The module ``tests.secret_types``, with its types registered and a key to encrypt with."""
    from taskyard.server.home import new_encryption_key
    from tests import secret_types
    from tests.configured import configure

    configure(settings, ENCRYPTION_KEYS=[new_encryption_key()])
    secret_types.register()
    yield secret_types
    secret_types.unregister()


def fresh_database(stack: ExitStack) -> dict[str, str]:
    """The environment of a new, empty database of the kind that TEST_DB names."""
    if TEST_DB == "sqlite":
        return {}
    return {"DATABASE_URL": stack.enter_context(servers.database(os.environ["TEST_DATABASE_URL"]))}


@lru_cache(maxsize=1)
def migrated_database() -> str:
    """A migrated database without connections, as a template: a name on the server, or a path."""
    system = SYSTEM(_home / "migrated", fresh_database(_servers))
    system.command("migrate", "-v", "0")
    database = system.database
    return str(database) if isinstance(database, Path) else urlsplit(database).path[1:]


def start_live(stack: ExitStack, directory: Path, environment: dict[str, str]) -> Live:
    """A live system on a new, migrated database of the kind that TEST_DB names."""
    copied = migrated_database()
    home = directory / "home"
    home.mkdir(parents=True)
    given = {}
    if TEST_DB == "sqlite":
        shutil.copy(copied, home)
    else:
        server = os.environ["TEST_DATABASE_URL"]
        given["DATABASE_URL"] = stack.enter_context(servers.database(server, copied))
    return stack.enter_context(SYSTEM(directory, {**given, **environment}, migrated=True))


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A running system of its own: web, worker, broker, database, with the defaults."""
    with ExitStack() as stack:
        yield start_live(stack, tmp_path_factory.mktemp("live"), USUAL)


@pytest.fixture
def new_live(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """`new_live(TASKYARD_ACTIVE_LIMIT="1000")`: a live system with an environment of its own."""
    with ExitStack() as stack:

        def start(**environment: str) -> Live:
            directory = tmp_path / secrets.token_hex(4)
            started = start_live(stack, directory, {**USUAL, **environment})
            request.node.funcargs["live"] = started
            return started

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    used = getattr(item, "funcargs", {})
    for system in (used.get("live"), used.get("host")):
        if report.failed and isinstance(system, Live | Host):
            report.sections.append(("the live system's log", system.log_tail()))
    return report


def pytest_unconfigure() -> None:
    _servers.close()


@pytest.fixture
def figure(record_property: Any) -> Any:
    """`figure("what", "value")`: a measured figure, printed at the end of the run."""
    return lambda what, value: record_property("figure", f"{TEST_DB:<10}  {what}: {value}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [
        report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)
    ]
    figures = [
        text for report in reports for name, text in report.user_properties if name == "figure"
    ]
    if figures:
        terminalreporter.section("figures of this run")
        for line in figures:
            terminalreporter.write_line(line)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tier", choices=("check", "test", "slow", "all"), default="all")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tier = config.getoption("--tier")
    left_out = [item for item in items if not _belongs(item, tier)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if _belongs(item, tier)]


def _belongs(item: pytest.Item, tier: str) -> bool:
    if PROJECT == "host" and not tiers.is_in_host(item.nodeid):
        return False
    slow = tiers.is_slow(item.nodeid)
    match tier:
        case "check":
            return tiers.is_fast(item.nodeid, set(getattr(item, "fixturenames", ())))
        case "test":
            return not slow
        case "slow":
            return slow
    return True
