"""What each session of the database gets, also with Django's own engines."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import connection

from taskyard.core import sessions

pytestmark = pytest.mark.django_db
makes_them_itself = "session" in connection.settings_dict["OPTIONS"]


@pytest.fixture
def another() -> Iterator[Any]:
    with closing(connection.copy()) as other:
        yield other


def shown(session: Any, name: str) -> str:
    with session.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return str(cursor.fetchone()[0])


@pytest.mark.skipif(connection.vendor != "sqlite", reason="pragmas of SQLite")
def test_sqlite_loses_no_task_and_begins_as_a_writer(another: Any) -> None:
    with another.cursor() as cursor:
        assert cursor.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert cursor.execute("PRAGMA synchronous").fetchone() == (2,)
    assert another.transaction_mode == "IMMEDIATE"


@pytest.mark.skipif(connection.vendor != "sqlite", reason="pragmas of SQLite")
def test_what_a_project_has_chosen_for_sqlite_stays(another: Any) -> None:
    chosen = {"transaction_mode": "EXCLUSIVE", "init_command": "PRAGMA synchronous = EXTRA"}
    another.settings_dict = {**another.settings_dict, "OPTIONS": chosen}
    with another.cursor() as cursor:
        assert cursor.execute("PRAGMA synchronous").fetchone() == (3,)
    assert another.transaction_mode == "EXCLUSIVE"


@pytest.mark.skipif(connection.vendor != "postgresql", reason="settings of PostgreSQL")
@pytest.mark.skipif(makes_them_itself, reason="our engine makes these settings itself")
def test_the_plans_of_a_worker_depend_on_no_statistics(another: Any) -> None:
    sessions.mark_as_workers(another)
    for _ in range(2):
        assert shown(another, "enable_seqscan") == "off"
        assert shown(another, "plan_cache_mode") == "force_generic_plan"
        assert shown(another, "idle_in_transaction_session_timeout") == "5s"
        another.close()  # the next session gets them too


@pytest.mark.skipif(connection.vendor != "postgresql", reason="settings of PostgreSQL")
def test_other_sessions_of_postgresql_are_left_alone(another: Any) -> None:
    assert shown(another, "enable_seqscan") == "on"
    assert shown(another, "enable_sort") == "on"
