"""Service accounts: made by operators, with keys and without a password."""

import io
import os
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db.models import ProtectedError
from django.test import Client

from taskyard.accounts import keys, passwords, roles, service_accounts, subjects
from taskyard.accounts.errors import LoginRefused, SubjectInvalid, TooManySubjects
from taskyard.accounts.models import ApiKey, OidcIdentity, ServiceAccount, Subject, User
from taskyard.accounts.new_key import NewKey
from taskyard.accounts.scopes import Scope
from taskyard.core.models import Quota, Task
from taskyard.core.transfer import exporter, importer
from taskyard.server import cli
from tests.api_client import ApiClient
from tests.configured import configure
from tests.service_accounts import Backend, new_account, new_backend

NAMES = ["customer-17", "ann@example.org", "auth0|6f", "A=1~b:c+d", "_", "x" * 100]
NO_NAMES = ["", ".", "..", "a/b", "a b", "a,b", "é", "a\n", "x" * 101, "a%2Fb"]


@pytest.fixture
def account(db: None) -> ServiceAccount:
    return new_account()


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process that has just started."""
    monkeypatch.setattr(subjects, "_remembered", {})


def test_an_account_has_no_password_and_cannot_log_in(
    account: ServiceAccount, nobody: ApiClient
) -> None:
    user = account.user
    assert not user.has_usable_password()
    assert Quota.objects.filter(user=user).exists()
    # An operator may yet give it one, by a command or in the admin.
    user.set_password("a password of many words")
    user.save()
    refused = nobody.post(
        "token/", {"username": user.username, "password": "a password of many words"}
    )
    assert (refused.status_code, refused.json()["code"]) == (401, "no_active_account")
    with pytest.raises(LoginRefused):
        passwords.log_in(username="shop", password="a password of many words", address="127.0.0.1")
    assert not Client().login(username="shop", password="a password of many words")


def test_a_subject_cannot_log_in_either(account: ServiceAccount) -> None:
    user = subjects.find_or_create(account.pk, "customer-17")
    assert not user.has_usable_password()
    user.set_password("a password of many words")
    user.save()
    assert not Client().login(username=user.username, password="a password of many words")


@pytest.mark.parametrize("name", ["", "a/b", "x" * 31, "a b", "a\u3164"])
def test_a_bad_name_is_refused(db: None, name: str) -> None:
    with pytest.raises(ValidationError):
        service_accounts.create(name)
    assert not User.objects.exists()


def test_the_name_of_a_person_is_taken(new_user: Callable[..., User]) -> None:
    for name, fields in (
        ("ann", {"password": "argon2$x"}),
        ("boss", {"is_staff": True}),
        ("root", {"is_superuser": True}),
    ):
        new_user(name, **fields)
        with pytest.raises(ValidationError) as refused:
            service_accounts.create(name.upper())
        assert refused.value.code == "username_taken"
    new_account()
    with pytest.raises(ValidationError):
        new_account("SHOP")
    assert ServiceAccount.objects.count() == 1


def test_the_user_of_an_import_becomes_an_account_again(new_user: Callable[..., User]) -> None:
    user = new_user("shop")
    of_subject = new_user("shop/customer-17")
    account = new_account()
    assert account.user == user
    assert subjects.find_or_create(account.pk, "customer-17") == of_subject
    # An account with the old name of another gets a subject of its own.
    user.username = "store"
    user.save()
    second = new_account()
    assert subjects.find_or_create(second.pk, "customer-17") not in (user, of_subject)


def with_identity(user: User) -> None:
    OidcIdentity.objects.create(user=user, issuer="https://login.example.org", subject="7")


def with_key(user: User) -> None:
    keys.create(user, NewKey(name="x", scopes=[Scope.FILES]))


def as_viewer(user: User) -> None:
    roles.set_role(user, roles.Role.VIEWER)


@pytest.mark.parametrize("mark", [with_identity, with_key, as_viewer])
def test_a_person_without_a_password_becomes_no_account(
    new_user: Callable[..., User], mark: Callable[[User], None]
) -> None:
    mark(new_user("ann"))
    with pytest.raises(ValidationError) as refused:
        service_accounts.create("ann")
    assert refused.value.code == "username_taken"
    assert not ServiceAccount.objects.exists()


def test_nobody_can_register_the_name_of_a_subject(
    account: ServiceAccount, nobody: ApiClient
) -> None:
    for name in ("shop/customer-17", "shop"):
        body = {"username": name, "password": "a password of many words"}
        assert nobody.post("register/", body).status_code == 400
    assert subjects.find_or_create(account.pk, "customer-17").username == "shop/customer-17"


@pytest.mark.parametrize("name", NAMES)
def test_a_subject_is_made_once_for_each_name(account: ServiceAccount, name: str) -> None:
    first = subjects.find_or_create(account.pk, subjects.check_name(name))
    assert subjects.find_or_create(account.pk, name) == first
    assert subjects.remembered(account.pk, name) == first.pk
    assert Subject.objects.get().name == name
    assert Quota.objects.filter(user=first).exists()


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_of_a_subject(name: str) -> None:
    with pytest.raises(SubjectInvalid):
        subjects.check_name(name)


def test_names_that_differ_in_case_are_different_subjects(account: ServiceAccount) -> None:
    names = ["aB", "ab", "Ab", "AB"]
    assert len({subjects.find_or_create(account.pk, name).pk for name in names}) == 4


def test_accounts_have_subjects_of_their_own(account: ServiceAccount) -> None:
    second = new_account("warehouse")
    ids = {subjects.find_or_create(each.pk, "c").pk for each in (account, second)}
    assert len(ids) == 2


def test_an_account_has_at_most_so_many_subjects(account: ServiceAccount, settings: Any) -> None:
    configure(settings, SUBJECTS_PER_ACCOUNT=2)
    first = subjects.find_or_create(account.pk, "1")
    subjects.find_or_create(account.pk, "2")
    with pytest.raises(TooManySubjects):
        subjects.find_or_create(account.pk, "3")
    assert not User.objects.filter(username="shop/3").exists()
    subjects.find_or_create(account.pk, "1")
    refused = new_backend(account).on_behalf_of("3").create()
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_subjects")
    first.delete()
    subjects.find_or_create(account.pk, "3")


def test_an_account_with_subjects_is_not_deleted(account: ServiceAccount) -> None:
    of_subject = subjects.find_or_create(account.pk, "customer-17")
    with pytest.raises(ProtectedError):
        account.user.delete()
    of_subject.delete()
    account.user.delete()
    assert not ServiceAccount.objects.exists()


def test_the_admin_gives_a_machine_no_other_name_and_no_password(
    account: ServiceAccount, new_user: Callable[..., User]
) -> None:
    client = Client()
    client.force_login(new_user("root", is_staff=True, is_superuser=True))
    address = f"/admin/taskyard_accounts/user/{account.pk}/change/"
    page = client.get(address)
    assert page.status_code == 200
    assert b'name="username"' not in page.content
    assert client.post(address, {"username": "other"}).status_code in (200, 302)
    account.user.refresh_from_db()
    assert account.user.username == "shop"


@pytest.fixture
def command(
    db: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """`taskyard service-account`: its exit code, its output and its messages."""
    # Without an address the command looks for a file in TASKYARD_HOME.
    monkeypatch.setenv("DATABASE_URL", os.environ.get("DATABASE_URL", "sqlite:////tmp/none"))

    def run(*words: str) -> tuple[int, str, str]:
        try:
            code = cli.main(["service-account", *words])
        except SystemExit as exit:
            code = int(exit.code or 0)
        return code, *capsys.readouterr()

    return run


def test_the_command_makes_an_account_and_prints_its_key_once(
    command: Callable[..., tuple[int, str, str]],
) -> None:
    code, key, said = command("shop", "--key", "tasks:submit", "tasks:read")
    assert (code, key.count("\n")) == (0, 1)
    assert "has been made" in said
    backend = Backend(key.strip())
    assert backend.on_behalf_of("customer-17").create().json()["subject"] == "customer-17"
    code, second, said = command("shop", "--key", "tasks:read", "--key-name", "reader")
    assert "is there already" in said
    assert second not in ("", key)
    assert dict(ApiKey.objects.values_list("name", "scopes"))["reader"] == ["tasks:read"]
    assert command("warehouse")[:2] == (0, "")


@pytest.mark.parametrize(
    "words",
    [("a/b",), ("x" * 31,), ("boss",), ("shop", "--key", "admin"), ("shop", "--key"), (),
     ("shop", "--key", "files", "--key-name", "")],
)  # fmt: skip
def test_the_command_refuses_in_one_line(
    command: Callable[..., tuple[int, str, str]],
    new_user: Callable[..., User],
    words: tuple[str, ...],
) -> None:
    new_user("boss", is_staff=True)
    code, out, said = command(*words)
    assert (code, out) == (2, "")
    assert said.splitlines()[-1].startswith("taskyard")
    assert not ApiKey.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_import_brings_back_accounts_and_subjects(account: ServiceAccount) -> None:
    backend = new_backend(account)
    task_id = backend.on_behalf_of("Customer-17").create().json()["id"]
    out = io.BytesIO()
    exporter.export(out, secrets=True)
    Task.objects.all().delete()
    User.objects.filter(username__startswith="shop/").delete()
    account.user.delete()
    importer.import_lines(out.getvalue().splitlines(keepends=True))
    assert backend.get("tasks/").status_code == 401  # keys are not exported
    again = new_backend(new_account())
    shown = again.on_behalf_of("Customer-17").get(f"tasks/{task_id}/")
    assert (shown.status_code, shown.json()["subject"]) == (200, "Customer-17")
    assert again.on_behalf_of("customer-17").get(f"tasks/{task_id}/").status_code == 404
