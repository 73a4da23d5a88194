"""What an error of the database means, asked of the real errors of both databases."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, DataError, InterfaceError, OperationalError, connection
from django.db.utils import ConnectionHandler

from taskyard.core.database_errors import Outage, is_outage, note, outage_of
from taskyard.server.database import database
from tests.conftest import TEST_DB


def test_without_a_code_nobody_has_answered() -> None:
    assert outage_of(OperationalError("no connection")) is Outage.AWAY
    assert outage_of(InterfaceError("closed")) is Outage.AWAY
    assert not is_outage(DataError("too long"))
    assert not is_outage(ZeroDivisionError())


def test_the_log_says_why_also_without_extra_fields(caplog: pytest.LogCaptureFixture) -> None:
    note(OperationalError("no connection"))
    assert caplog.messages == ["database away: away"]


if TEST_DB == "postgresql":

    @pytest.mark.django_db
    @pytest.mark.parametrize(
        ("sqlstate", "outage"),
        [
            ("08006", Outage.AWAY),
            ("0A000", Outage.AWAY),
            ("25006", Outage.READ_ONLY),
            ("25P02", Outage.AWAY),
            ("25P03", Outage.AWAY),
            ("26000", Outage.AWAY),
            ("28000", Outage.FORBIDDEN),
            ("28P01", Outage.FORBIDDEN),
            ("3D000", Outage.MISSING),
            ("3F000", Outage.MISSING),
            ("40001", Outage.BUSY),
            ("40P01", Outage.BUSY),
            ("42501", Outage.FORBIDDEN),
            ("42703", Outage.UNMIGRATED),
            ("42P01", Outage.UNMIGRATED),
            ("53100", Outage.FULL),
            ("53200", Outage.FULL),
            ("53300", Outage.FULL),
            ("55000", Outage.AWAY),
            ("55P03", Outage.BUSY),
            ("57014", Outage.BUSY),
            ("57P01", Outage.AWAY),
            ("57P02", Outage.AWAY),
            ("57P03", Outage.AWAY),
            ("57P05", Outage.AWAY),
            ("58030", Outage.DAMAGED),
            ("XX000", Outage.DAMAGED),
            ("XX001", Outage.DAMAGED),
            # The statement or its data.
            ("22003", None),
            ("23505", None),
            ("42601", None),
            ("54000", None),
            ("54001", None),
        ],
    )
    def test_a_sqlstate_decides(sqlstate: str, outage: Outage | None) -> None:
        with connection.cursor() as cursor, pytest.raises(Exception, match="made up") as caught:
            cursor.execute(f"DO $$ BEGIN RAISE 'made up' USING ERRCODE = '{sqlstate}'; END $$")
        assert outage_of(caught.value) is outage


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "taskyard.sqlite3"
    with sqlite3.connect(path) as made:
        made.execute("PRAGMA journal_mode=WAL")
        made.execute("CREATE TABLE line (said TEXT UNIQUE)")
        made.executemany("INSERT INTO line VALUES (?)", [(f"{n:0500}",) for n in range(100)])
    made.close()
    return path


def refused(path: Path, statement: str, before: str = "") -> Outage | None:
    """What an error of this statement means."""
    given = database(f"sqlite:///{path}", home=path.parent, for_worker=False)
    given["OPTIONS"]["timeout"] = 0.1
    handler = ConnectionHandler({"default": given})
    try:
        with handler["default"].cursor() as cursor:
            if before:
                cursor.execute(before)
            with pytest.raises(DatabaseError) as caught:
                cursor.execute(statement)
    finally:
        handler.close_all()
    return outage_of(caught.value)


@pytest.fixture(autouse=True)
def _allowed(django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


SAY = "INSERT INTO line VALUES ('x')"


def test_sqlite_s_outages(file: Path, tmp_path: Path) -> None:
    assert refused(file, SAY, "PRAGMA query_only = ON") is Outage.READ_ONLY
    assert refused(file, "SELECT * FROM task") is Outage.UNMIGRATED
    assert refused(file, "SELECT heard FROM line") is Outage.UNMIGRATED
    assert refused(file, "INSERT INTO line (heard) VALUES (1)") is Outage.UNMIGRATED
    full = "INSERT INTO line SELECT hex(randomblob(9000)) FROM line"
    assert refused(file, full, "PRAGMA max_page_count = 1") is Outage.FULL
    with writing(file):
        assert refused(file, SAY) is Outage.BUSY


def test_what_is_no_outage_of_sqlite(file: Path) -> None:
    assert refused(file, "SELEC 1") is None
    assert refused(file, f"INSERT INTO line VALUES ('{0:0500}')") is None


def test_a_file_that_cannot_be_opened_or_is_no_database(file: Path, tmp_path: Path) -> None:
    given = database(f"sqlite:///{tmp_path}", home=tmp_path, for_worker=False)  # a folder
    with pytest.raises(OperationalError) as caught:
        ConnectionHandler({"default": given})["default"].ensure_connection()
    assert outage_of(caught.value) is Outage.MISSING
    other = tmp_path / "other.sqlite3"
    other.write_bytes(b"no database" * 1000)
    given = database(f"sqlite:///{other}", home=tmp_path, for_worker=False)
    with pytest.raises(Exception, match="not a database") as broken:
        ConnectionHandler({"default": given})["default"].ensure_connection()
    assert outage_of(broken.value) is Outage.DAMAGED
    with file.open("r+b") as torn:
        torn.seek(4096)
        torn.write(b"\xff" * 40960)
    assert refused(file, "SELECT count(said) FROM line") is Outage.DAMAGED


@contextmanager
def writing(path: Path) -> Iterator[None]:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()
