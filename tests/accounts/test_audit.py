"""Log-ins and changes of accounts are in the audit log, with the address, without secrets."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from taskyard.accounts.models import User
from taskyard.core import audit
from taskyard.core.models import AuditEntry
from tests.api_client import ApiClient

PASSWORD = "a password of ann"
NEW = "another password 7"
ADDRESS = "203.0.113.7"


@pytest.fixture(autouse=True)
def nothing_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_left_out", 0)


@pytest.fixture
def ann(db: None) -> User:
    return User.objects.create_user("ann", password=PASSWORD)


@pytest.fixture
def api() -> ApiClient:
    return ApiClient(Client(REMOTE_ADDR=ADDRESS))


def entries() -> list[tuple[Any, ...]]:
    rows = AuditEntry.objects.order_by("id")
    return list(rows.values_list("by__username", "by_name", "action", "target", "address"))


def log_in(api: ApiClient, username: str = "ann", password: str = PASSWORD) -> int:
    answer = api.post("token/", {"username": username, "password": password})
    return int(answer.status_code)


def test_a_registration(db: None, api: ApiClient) -> None:
    body = {"username": "newuser", "password": PASSWORD}
    assert api.post("register/", body).status_code == 201
    assert entries() == [("newuser", "newuser", "register", "", ADDRESS)]
    assert api.post("register/", body).status_code == 400
    assert len(entries()) == 1


def test_log_ins_over_the_api(ann: User, api: ApiClient) -> None:
    assert log_in(api, "ANN") == 200
    assert log_in(api, "ANN", "wrong") == 401
    assert log_in(api, "no such user", "wrong") == 401
    assert entries() == [
        ("ann", "ann", "log_in", "", ADDRESS),
        (None, "ann", "log_in_failed", "", ADDRESS),
        (None, "no…", "log_in_failed", "", ADDRESS),
    ]


@pytest.mark.parametrize("path", ["/sign-in/", "/admin/login/"])
def test_log_ins_on_the_pages(ann: User, path: str) -> None:
    ann.is_staff = True
    ann.save()
    client = Client(REMOTE_ADDR=ADDRESS)
    client.post(path, {"username": "ann", "password": "wrong"})
    assert client.post(path, {"username": "ann", "password": PASSWORD}).status_code == 302
    assert entries() == [
        (None, "ann", "log_in_failed", "", ADDRESS),
        ("ann", "ann", "log_in", "", ADDRESS),
    ]


def test_a_log_in_costs_one_statement_more(ann: User, api: ApiClient) -> None:
    log_in(api)
    with CaptureQueriesContext(connection) as queries:
        assert log_in(api) == 200
    statements = [query["sql"].lstrip("(").split()[0] for query in queries.captured_queries]
    # Three reads: the user, whether it is a machine, and the refresh token. Two writes: the entry
    # and the token.
    assert [statements.count(verb) for verb in ("SELECT", "INSERT", "UPDATE")] == [3, 2, 0]


def test_a_flood_of_failures_is_bounded(
    ann: User, api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "FAILURES_A_MINUTE", 4)
    for number in range(9):
        assert log_in(api, f"name-{number}", "wrong") == 401
    assert len(entries()) == 4
    assert log_in(api) == 200
    assert len(entries()) == 5


def test_a_changed_password(
    ann: User, as_user: Callable[[User], ApiClient], api: ApiClient
) -> None:
    mine = as_user(ann)
    body = {"old_password": "wrong", "new_password": NEW}
    assert mine.post("me/password/", body).status_code == 400
    assert entries() == []
    assert mine.post("me/password/", body | {"old_password": PASSWORD}).status_code == 200
    assert [entry[:4] for entry in entries()] == [("ann", "ann", "change_password", "")]


def test_a_password_that_the_admin_sets(ann: User, new_user: Callable[..., User]) -> None:
    admin = Client()
    admin.force_login(new_user("root", is_staff=True, is_superuser=True))
    address = f"/admin/taskyard_accounts/user/{ann.pk}/password/"
    assert admin.post(address, {"password1": NEW, "password2": "x"}).status_code == 200
    assert entries() == []
    form = {"password1": NEW, "password2": NEW, "usable_password": "true"}
    assert admin.post(address, form).status_code == 302
    assert entries() == [("root", "root", "set_password", "ann", "")]
    assert admin.get("/admin/taskyard_accounts/user/x/password/").status_code in (302, 404)


def test_no_entry_has_a_secret(
    ann: User, api: ApiClient, as_user: Callable[[User], ApiClient]
) -> None:
    log_in(api)
    log_in(api, PASSWORD, "wrong")  # into the wrong field
    log_in(api, "ann", NEW)
    as_user(ann).post("me/password/", {"old_password": PASSWORD, "new_password": NEW})
    assert len(entries()) == 4
    for row in AuditEntry.objects.values():
        assert PASSWORD not in str(row)
        assert NEW not in str(row)
