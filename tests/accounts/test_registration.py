"""Registering: which names and passwords, and what two people at once get."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections

from taskyard.accounts.models import User
from taskyard.core.models import Account
from tests.api.caller import Caller

GOOD = "correct horse battery"


def register(nobody: Caller, username: Any, password: Any = GOOD, **more: Any) -> Any:
    return nobody.post("register/", {"username": username, "password": password, **more})


def test_a_new_user_has_a_quota_account_and_a_hash_of_argon2(nobody: Caller) -> None:
    assert register(nobody, "newuser").status_code == 201
    user = User.objects.get()
    assert user.password.startswith("argon2$argon2id$")
    assert Account.objects.get().user_id == user.pk
    assert not user.is_staff


@pytest.mark.parametrize(
    "name", ["аня", "José", "user@example.com", "a+b-c.d_e", "x" * 150, "用户"]
)
def test_names_may_be_of_any_script(nobody: Caller, name: str) -> None:
    created = register(nobody, name)
    assert created.status_code == 201
    assert created.json()["username"] == name


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", " a", "a\n", "a\tb", "a\u0007", "a\u202eb", "a\u2066b", "a\u200db", "a\u200b",
     "\ufeffa", "a\u0000", "x" * 151, "ﷺ" * 60, "a\u3164", "\u115f", "a/b",
     "<img onerror=1>", "a'b",
     "\ud83d\ude00", None, 5, True, [], {}],
    ids=ascii,
)  # fmt: skip
def test_a_name_that_would_deceive_or_break_is_refused(nobody: Caller, name: Any) -> None:
    refused = register(nobody, name)
    assert refused.status_code == 400
    assert list(refused.json()) == ["username"]
    assert not User.objects.exists()


@pytest.mark.parametrize(
    "twin", ["newuser", "NEWUSER", "NewUser", "\uff4eewuser", "newu\u017fer", "ⓝewuser"], ids=ascii
)
def test_a_twin_of_a_name_is_refused(nobody: Caller, twin: str) -> None:
    assert register(nobody, "newuser").status_code == 201
    refused = register(nobody, twin)
    assert refused.status_code == 400
    assert refused.json() == {"username": ["Это имя пользователя уже занято."]}


def test_one_can_log_in_by_any_form_of_the_name(nobody: Caller) -> None:
    register(nobody, "Straße")
    for name in ("Straße", "strasse", "STRASSE"):
        assert nobody.post("token/", {"username": name, "password": GOOD}).status_code == 200


@pytest.mark.parametrize("password", ["1", "", "1234567", "1234567890", "newuser1", None, 5, []])
def test_a_weak_password_is_refused(nobody: Caller, password: Any) -> None:
    refused = register(nobody, "newuser", password)
    assert refused.status_code == 400
    assert list(refused.json()) == ["password"]


def test_why_a_password_is_refused_is_said_in_both_languages_and_forms(nobody: Caller) -> None:
    body = {"username": "newuser", "password": "123"}
    russian = nobody.post("register/", body).json()
    assert "слишком короткий" in russian["password"][0]
    problem = nobody.post(
        "register/", body, Accept="application/problem+json", Accept_Language="en"
    ).json()
    assert [error["code"] for error in problem["errors"]] == [
        "password_too_short",
        "password_entirely_numeric",
    ]


@pytest.mark.parametrize("length", [129, 200_000, 2_000_000])
def test_a_huge_password_is_a_bad_password(nobody: Caller, length: int) -> None:
    refused = register(nobody, "newuser", "x" * length)
    assert refused.status_code == 400
    assert list(refused.json()) == ["password"]


def test_a_password_of_128_characters_is_accepted(nobody: Caller) -> None:
    assert register(nobody, "newuser", "пароль🔑" * 18).status_code == 201


@pytest.mark.parametrize("extra", ["is_staff", "is_superuser", "id", "email", "is_active"])
def test_nothing_else_can_be_set(nobody: Caller, extra: str) -> None:
    refused = register(nobody, "newuser", **{extra: True})
    assert refused.status_code == 400
    assert list(refused.json()) == [extra]


@pytest.mark.django_db(transaction=True)
def test_of_twins_at_the_same_moment_one_gets_the_name(nobody: Caller) -> None:
    def attempt(name: str) -> int:
        try:
            return int(register(nobody, name).status_code)
        finally:
            connections.close_all()

    names = ["twin", "TWIN", "Twin", "tWin", "twIn", "twiN"]
    with ThreadPoolExecutor(len(names)) as pool:
        statuses = sorted(pool.map(attempt, names))
    assert statuses == [201, 400, 400, 400, 400, 400]
    assert User.objects.count() == Account.objects.count() == 1
    connection.close()


def test_bulk_made_users_have_their_key(db: None) -> None:
    User.objects.bulk_create([User(username="A"), User(username="B")])
    assert set(User.objects.values_list("username_key", flat=True)) == {"a", "b"}
