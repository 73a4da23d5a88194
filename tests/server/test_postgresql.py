"""A PostgreSQL that hangs counts as away: every response has a time limit."""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import InternalError, OperationalError
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


Own = Callable[..., Any]


def _connect_and_close(given: dict[str, Any]) -> None:
    connection = ConnectionHandler({"default": given})["default"]
    connection.ensure_connection()
    connection.close()


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
            with ThreadPoolExecutor(1) as another:
                trying = another.submit(_connect_and_close, given)
                time.sleep(0.5)
                with pytest.raises(OperationalError, match="a moment ago"):
                    connection.ensure_connection()
                assert not trying.done()
                link.become(Mode.PASS)
                wait([trying], timeout=10)
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
            time.sleep(SOUND_SECONDS)  # until then the connection counts as usable
            began = time.monotonic()
            assert not connection.is_usable()
            assert time.monotonic() - began < 3.0
            connection.close()

    def test_a_server_that_turns_read_only_is_left(own: Own) -> None:
        connection = own(answer_seconds=4.0)
        connection.ensure_connection()
        assert connection.is_usable()
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")
            with pytest.raises(InternalError, match="read-only"):
                cursor.execute("CREATE TABLE t (i int)")
        assert not connection.is_usable()

    def test_whoever_waits_for_a_lock_is_told_so_and_no_other_is(own: Own) -> None:
        holder, waiter, other = (own(answer_seconds=2.0) for _ in range(3))
        with holder.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(4711)")
        with waiter.cursor() as cursor:
            with pytest.raises(OperationalError, match="lock timeout"):
                cursor.execute("SELECT pg_advisory_lock(4711)")
            with pytest.raises(OperationalError, match="statement timeout"):
                cursor.execute("SELECT pg_sleep(10)")
            cursor.execute("SELECT 1")
        with other.cursor() as cursor:
            cursor.execute("SELECT 1")

    def test_a_block_may_be_given_more_time(own: Own) -> None:
        connection = own(answer_seconds=1.0)
        connection.set_autocommit(False)
        with connection.answering_within(8.0), connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(1.5)")
        connection.rollback()
        connection.set_autocommit(True)
        with connection.cursor() as cursor, pytest.raises(OperationalError):
            cursor.execute("SELECT pg_sleep(1.5)")

    def test_what_a_dba_sets_for_a_role_changes_nothing(own: Own, role: str) -> None:
        connection = own(answer_seconds=4.0, user=role)
        with connection.cursor() as cursor:
            cursor.execute("SELECT name, setting, unit FROM pg_settings")
            found = {name: f"{setting}{unit or ''}" for name, setting, unit in cursor.fetchall()}
            cursor.execute(
                "SELECT now(), interval '1 day', 0.1::float8 + 0.2, '\\x00'::bytea, 'a\\b'"
            )
            now, day, third, data, text = cursor.fetchone()
        for name, value in ODD.items():
            assert found[name] != value, name
        assert found["default_transaction_isolation"] == "read committed"
        assert found["statement_timeout"] == "3000ms"
        assert now.tzinfo is not None
        assert (day.days, third, bytes(data), text) == (1, 0.30000000000000004, b"\0", "a\\b")

    ODD = {
        "default_transaction_isolation": "serializable",
        "default_transaction_deferrable": "on",
        "DateStyle": "German, DMY",
        "IntervalStyle": "iso_8601",
        "TimeZone": "Asia/Kolkata",
        "bytea_output": "escape",
        "extra_float_digits": "-5",
        "standard_conforming_strings": "off",
        "client_encoding": "LATIN1",
        "transform_null_equals": "on",
        "statement_timeout": "10ms",
        "lock_timeout": "1ms",
        "idle_in_transaction_session_timeout": "1ms",
        "idle_session_timeout": "60s",
    }

    @pytest.fixture
    def role() -> Iterator[str]:
        """A role with unusual settings of a DBA."""
        name = f"odd_{secrets.token_hex(4)}"
        with psycopg.connect(os.environ["TEST_DATABASE_URL"], autocommit=True) as server:
            server.execute(f"CREATE ROLE {name} LOGIN")
            for setting, value in ODD.items():
                server.execute(f"ALTER ROLE {name} SET {setting} = '{value}'")
            yield name
            server.execute(f"DROP ROLE {name}")

    @pytest.fixture
    def own(tmp_path: Path) -> Iterator[Own]:
        """`own(answer_seconds=4.0)`: a connection of its own."""
        made: list[Any] = []

        def new(*, answer_seconds: float, user: str = "") -> Any:
            address = os.environ["TEST_DATABASE_URL"]
            given = database(
                address, home=tmp_path, for_worker=False, answer_seconds=answer_seconds
            )
            given["USER"] = user or given["USER"]
            made.append(ConnectionHandler({"default": given})["default"])
            return made[-1]

        yield new
        for connection in made:
            connection.close()
