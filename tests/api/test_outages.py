"""An outage of the database is a 503 for the request, in the form that it accepts.

``tests/core/test_database_errors.py`` tests which errors are outages.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from taskyard.accounts.models import User
from taskyard.server import doctor
from taskyard.server.health import database_state
from tests.api_client import ApiClient
from tests.conftest import TEST_DB

pytestmark = pytest.mark.django_db(transaction=True)

PROBLEM = "application/problem+json"
PERSON = {"username": "somebody", "password": "password123"}
Outage = Callable[[], AbstractContextManager[None]]


@contextmanager
def read_only() -> Iterator[None]:
    """Make new connections read-only, as on an old primary after a switchover."""
    options = connection.settings_dict["OPTIONS"]
    before = dict(options)
    connection.close()
    if TEST_DB == "sqlite":
        options["init_command"] += "PRAGMA query_only = ON;"
    else:
        options["options"] = "-c default_transaction_read_only=on"
    try:
        yield
    finally:
        options.clear()
        options.update(before)
        connection.close()


@contextmanager
def without(table: str) -> Iterator[None]:
    """Rename a table, as if it was not migrated yet."""
    rename = 'ALTER TABLE "{}" RENAME TO "{}"'
    with connection.cursor() as cursor:
        cursor.execute(rename.format(table, f"old_{table}"))
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(rename.format(f"old_{table}", table))


def assert_unavailable(answer: Any, media_type: str = "application/json") -> None:
    assert answer.status_code == 503, answer.content[:500]
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Content-Type"].startswith(media_type)
    if "json" in media_type:
        assert answer.json()["code"] == "unavailable"


def test_a_read_only_database_refuses_what_writes_and_still_shows(
    api: ApiClient, nobody: ApiClient
) -> None:
    task = api.create().json()["id"]
    nobody.post("register/", PERSON)
    refresh = nobody.post("token/", PERSON).json()["refresh"]
    User.objects.update(is_staff=True)
    with read_only():
        assert database_state() == "read_only"
        for path, body in (
            ("tasks/create/", {"task_type": "sum", "input_data": {"numbers": [1]}}),
            ("tasks/bulk/", {"tasks": [{"task_type": "sum", "input_data": {"numbers": [1]}}]}),
            (f"tasks/{task}/cancel/", None),
            ("register/", {**PERSON, "username": "another"}),
            ("token/blacklist/", {"refresh": refresh}),
        ):
            assert_unavailable(api.post(path, body))
            assert_unavailable(api.post(path, body, Accept=PROBLEM), PROBLEM)
        assert nobody.post("token/", PERSON).status_code in (200, 503)
        assert api.get(f"tasks/{task}/").status_code == 200
        browser = Client(raise_request_exception=False)
        for page in ("/sign-in/", "/admin/login/"):
            assert_unavailable(browser.post(page, PERSON), "text/html")
    assert database_state() == "ok"
    assert api.create().status_code == 201


def test_a_database_without_its_tables_is_not_ready_and_says_migrate(
    api: ApiClient, nobody: ApiClient
) -> None:
    with without("django_migrations"):
        assert database_state() == "unmigrated"
    with without("taskyard_task"):
        assert_unavailable(api.create())
        assert_unavailable(api.get("tasks/1/"))
    with without("taskyard_accounts_user"):
        assert_unavailable(nobody.post("register/", PERSON))
        assert_unavailable(nobody.post("token/", PERSON))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app IN ('taskyard', 'taskyard_files')")
    try:
        assert database_state() == "unmigrated"
        fine, detail = doctor.migrations()
        assert not fine
        assert "taskyard migrate" in detail
    finally:
        from django.core.management import call_command

        call_command("migrate", fake=True, verbosity=0)
    assert database_state() == "ok"


if TEST_DB == "postgresql":

    @pytest.fixture
    def failing() -> Iterator[Callable[[str], None]]:
        """`failing("53100")`: from now on every insert of a task fails with this SQLSTATE."""

        def fail(sqlstate: str) -> None:
            with connection.cursor() as cursor:
                cursor.execute(
                    "CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
                    f"$$ BEGIN RAISE 'made up' USING ERRCODE = '{sqlstate}'; END $$"
                )
                cursor.execute(
                    "CREATE OR REPLACE TRIGGER fail BEFORE INSERT ON taskyard_task "
                    "FOR EACH STATEMENT EXECUTE FUNCTION fail()"
                )

        yield fail
        with connection.cursor() as cursor:
            cursor.execute("DROP FUNCTION IF EXISTS fail CASCADE")

    @pytest.mark.parametrize(
        ("sqlstate", "retry_after"),
        [
            *((each, "1") for each in ("40001", "40P01", "55P03", "57014")),
            *((each, "5") for each in ("25006", "53100", "53300", "57P01", "58030", "08006")),
            *((each, "5") for each in ("42501", "42P01", "28000", "3D000", "XX000", "0A000")),
        ],
    )
    def test_every_operational_sqlstate_has_its_answer(
        api: ApiClient, failing: Callable[[str], None], sqlstate: str, retry_after: str
    ) -> None:
        failing(sqlstate)
        refused = api.create()
        assert_unavailable(refused)
        assert refused.headers["Retry-After"] == retry_after
        assert_unavailable(api.create(input_data={"numbers": [1]}))
