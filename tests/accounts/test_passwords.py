"""A password works in every Unicode form, in every login and every way to set it."""

import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.hashers import (
    Argon2PasswordHasher,
    PBKDF2PasswordHasher,
    check_password,
    make_password,
)
from django.test import Client

from taskyard.accounts import passwords
from taskyard.accounts.models import User
from taskyard.catalog.schema import InvalidInput
from tests.api_client import ApiClient

PASSWORD = "Пароль й ё ﬁ é 2024"
FORMS = [unicodedata.normalize(form, PASSWORD) for form in ("NFC", "NFD", "NFKC", "NFKD")]


def set_by_api(name: str, password: str) -> None:
    body = {"username": name, "password": password}
    assert ApiClient(Client()).post("register/", body).status_code == 201


def set_by_page(name: str, password: str) -> None:
    form = {"username": name, "password": password}
    assert Client().post("/register/", form).status_code == 302


def set_by_staff(name: str, password: str) -> None:
    admin = Client()
    admin.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    user = User.objects.create(username=name)
    form = {"password1": password, "password2": password, "usable_password": "true"}
    answer = admin.post(f"/admin/taskyard_accounts/user/{user.pk}/password/", form)
    assert answer.status_code == 302


def set_by_command(name: str, password: str) -> None:
    User.objects.create_superuser(name, "a@b.cd", password)


def change_by_api(name: str, password: str) -> None:
    set_by_api(name, "another password")
    client = ApiClient(Client())
    pair = client.post("token/", {"username": name, "password": "another password"}).json()
    body = {"old_password": "another password", "new_password": password}
    assert ApiClient(Client(), pair["access"]).post("me/password/", body).status_code == 200


@pytest.mark.parametrize(
    "set_password", [set_by_api, set_by_page, set_by_staff, set_by_command, change_by_api]
)
@pytest.mark.parametrize("form", FORMS, ids=["NFC", "NFD", "NFKC", "NFKD"])
def test_a_password_fits_in_every_form(
    db: None, set_password: Callable[[str, str], None], form: str
) -> None:
    set_password("newuser", form)
    User.objects.filter(username="newuser").update(is_staff=True)
    for typed in FORMS:
        body = {"username": "newuser", "password": typed}
        assert ApiClient(Client()).post("token/", body).status_code == 200
        assert Client().post("/sign-in/", body).status_code == 302
        assert Client().post("/admin/login/?next=/admin/", body).status_code == 302
    wrong = {"username": "newuser", "password": PASSWORD + "x"}
    assert ApiClient(Client()).post("token/", wrong).status_code == 401


@pytest.mark.parametrize("form", FORMS, ids=["NFC", "NFD", "NFKC", "NFKD"])
@pytest.mark.parametrize("hasher", [Argon2PasswordHasher, PBKDF2PasswordHasher])
def test_a_hash_from_before_still_fits_and_is_replaced(
    db: None, user: User, hasher: Any, form: str
) -> None:
    user.password = hasher().encode(form, "a" * 22)
    user.save()
    body = {"username": "newuser", "password": form}
    assert ApiClient(Client()).post("token/", {**body, "password": form + "x"}).status_code == 401
    pair = ApiClient(Client()).post("token/", body)
    assert pair.status_code == 200
    assert ApiClient(Client(), pair.json()["access"]).get("me/").status_code == 200
    for typed in FORMS:
        assert ApiClient(Client()).post("token/", {**body, "password": typed}).status_code == 200


def test_a_wrong_password_costs_one_hash_in_every_form(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second hash would take time and so reveal that the user exists."""
    hashed: list[str] = []
    verify = Argon2PasswordHasher.verify

    def counted(hasher: Any, password: str, encoded: str) -> bool:
        hashed.append(password)
        return verify(hasher, password, encoded)

    encoded = make_password("correct horse battery")
    monkeypatch.setattr(Argon2PasswordHasher, "verify", counted)
    for typed in FORMS:
        assert not check_password(typed, encoded)
    assert len(hashed) == len(FORMS)


def test_a_password_is_measured_as_it_is_kept(nobody: ApiClient) -> None:
    decomposed = unicodedata.normalize("NFD", "éàüö")
    assert len(decomposed) == 8
    refused = nobody.post("register/", {"username": "newuser", "password": decomposed})
    assert list(refused.json()) == ["password"]


def test_nobody_is_given_a_password_that_is_too_long(
    db: None, new_user: Callable[..., User]
) -> None:
    admin = Client()
    admin.force_login(new_user("root", is_staff=True, is_superuser=True))
    user = new_user("newuser")
    form = {"password1": "x" * 129, "password2": "x" * 129, "usable_password": "true"}
    answer = admin.post(f"/admin/taskyard_accounts/user/{user.pk}/password/", form)
    assert answer.status_code == 200
    assert re.search("128", answer.content.decode())


def test_hashes_are_made_by_one_thread_each(db: None) -> None:
    assert ",p=1$" in make_password("correct horse battery")


def test_a_change_does_not_undo_a_reset_of_the_same_moment(db: None, user: User) -> None:
    user.set_password("old-password-1")
    user.save()
    changing = User.objects.get(pk=user.pk)
    passwords.replace(user, "reset-password-1")
    with pytest.raises(InvalidInput):
        passwords.change(changing, old="old-password-1", new="new-password-1", address="::1")
    assert User.objects.get(pk=user.pk).check_password("reset-password-1")
