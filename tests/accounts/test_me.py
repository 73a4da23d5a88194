"""The own account: profile and password."""

from typing import Any

import pytest

from taskyard.accounts.models import User
from tests.api_client import ApiClient

PASSWORD = "correct horse battery"


def test_a_profile_is_shown_and_changed(api: ApiClient, user: User) -> None:
    shown = api.get("me/").json()
    names = ["id", "username", "email", "first_name", "last_name", "date_joined"]
    assert list(shown) == [*names, "email_verified"]
    changed = api.patch("me/", {"email": "a@example.com", "first_name": "Аня"})
    assert changed.status_code == 200
    assert changed.json() == {**shown, "email": "a@example.com", "first_name": "Аня"}
    assert api.patch("me/", {"email": ""}).json()["email"] == ""
    assert api.patch("me/", {}).json()["first_name"] == "Аня"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("email", value) for value in ("x", "a@", 5, None, "a" * 250 + "@b.cd", "a\n@b.cd")),
        *(("first_name", value) for value in ("x" * 151, "\u202eevil", "a\nb", "\0", None, [])),
        *((name, 1) for name in ("id", "username", "is_staff", "is_superuser", "password")),
    ],
)  # fmt: skip
def test_a_wrong_profile_is_refused_at_its_place(
    api: ApiClient, user: User, field: str, value: Any
) -> None:
    refused = api.patch("me/", {field: value})
    assert refused.status_code == 400
    assert list(refused.json()) == [field]
    user.refresh_from_db()
    assert (user.is_staff, user.email, user.first_name) == (False, "", "")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"old_password": "wrong", "new_password": "another good one"}, ["old_password"]),
        ({"old_password": PASSWORD, "new_password": "1"}, ["new_password"]),
        ({"old_password": PASSWORD, "new_password": "x" * 129}, ["new_password"]),
        ({"old_password": "x" * 129, "new_password": "another good one"}, ["old_password"]),
        ({"old_password": PASSWORD}, ["new_password"]),
        ({}, ["old_password", "new_password"]),
    ],
)
def test_a_wrong_change_of_password_changes_nothing(
    user: User, as_user: Any, body: Any, place: list[str]
) -> None:
    user.set_password(PASSWORD)
    user.save()
    api = as_user(user)
    refused = api.post("me/password/", body)
    assert refused.status_code == 400
    assert list(refused.json()) == place
    assert api.get("me/").status_code == 200
