"""A PostgreSQL that hangs is one that is away: every answer is bounded."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.db.utils import ConnectionHandler

from taskyard.server.database import database
from taskyard.server.postgresql.base import SOUND_SECONDS
from tests.conftest import TEST_DB
from tests.faults.proxy import Mode, Proxy


@pytest.fixture(autouse=True)
def _allowed(django_db_blocker: Any) -> Iterator[None]:
    """These tests bring connections of their own."""
    with django_db_blocker.unblock():
        yield


if TEST_DB == "postgresql":

    def test_a_hung_server_is_away_and_serves_again(tmp_path: Path) -> None:
        with Proxy(os.environ["TEST_DATABASE_URL"]) as link:
            given = database(link.url, home=tmp_path, for_worker=False, answer_seconds=2.0)
            connection = ConnectionHandler({"default": given})["default"]
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            link.become(Mode.BLACK_HOLE)
            began = time.monotonic()
            with connection.cursor() as cursor, pytest.raises(OperationalError):
                cursor.execute("SELECT 2")
            assert 2.0 <= time.monotonic() - began < 4.0
            connection.close()
            began = time.monotonic()
            with pytest.raises(OperationalError, match="a moment ago"):
                connection.ensure_connection()
            assert time.monotonic() - began < 0.1
            link.become(Mode.PASS)
            time.sleep(2.1)
            with connection.cursor() as cursor:
                cursor.execute("SELECT 3")
                assert cursor.fetchone() == (3,)
            connection.close()

    def test_a_kept_connection_that_is_dead_is_found_out(tmp_path: Path) -> None:
        with Proxy(os.environ["TEST_DATABASE_URL"]) as link:
            given = database(link.url, home=tmp_path, for_worker=False, answer_seconds=60.0)
            connection = ConnectionHandler({"default": given})["default"]
            connection.ensure_connection()
            link.become(Mode.HALF_OPEN)
            time.sleep(SOUND_SECONDS)  # until then it is taken for sound
            began = time.monotonic()
            assert not connection.is_usable()
            assert time.monotonic() - began < 3.0
            connection.close()
