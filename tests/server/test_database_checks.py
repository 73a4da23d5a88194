"""Each start and `taskyard doctor` warn of a database that may lose accepted tasks."""

from collections.abc import Iterator
from contextlib import nullcontext
from urllib.parse import urlsplit

import pytest
from django.db import connection

from taskyard.server import doctor
from taskyard.server.database_checks import durability, session, warnings
from tests import servers
from tests.conftest import TEST_DB

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def durable() -> Iterator[None]:
    """A server that waits for its disk: that of the other tests does not."""
    with servers.own_postgresql() if TEST_DB == "postgresql" else nullcontext() as server:
        before = dict(connection.settings_dict)
        connection.close()
        if server is not None:
            port = urlsplit(server.url).port
            place = {"NAME": "postgres", "USER": "taskyard", "HOST": "127.0.0.1", "PORT": port}
            connection.settings_dict.update(place)
        yield
        connection.close()
        connection.settings_dict.update(before)


@pytest.fixture
def careless() -> Iterator[None]:
    """A database that confirms a commit before it is durable."""
    options = connection.settings_dict["OPTIONS"]
    before = dict(options)
    connection.close()
    if TEST_DB == "sqlite":
        options["init_command"] += "PRAGMA synchronous = NORMAL;"
    else:
        options["session"] = {**options["session"], "synchronous_commit": "off"}
    yield
    options.clear()
    options.update(before)
    connection.close()


def test_a_careful_database_is_passed_in_silence() -> None:
    assert (durability()[0], session()[0]) == (True, True)
    assert warnings() == []


@pytest.mark.usefixtures("careless")
def test_a_careless_one_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    name = "synchronous is below FULL" if TEST_DB == "sqlite" else "synchronous_commit is off"
    assert warnings() == [f"durability: {name}: accepted tasks may be lost"]
    doctor.run_checks()
    assert f"WRONG  durability  {name}" in capsys.readouterr().out
