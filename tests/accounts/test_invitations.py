"""Registration: open, by invitation, closed."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from taskyard.accounts import invitations
from taskyard.accounts.models import Invitation, User
from taskyard.server import account_commands
from tests.api_client import ApiClient
from tests.configured import configure
from tests.mails import PUBLIC_URL, configure_mail, link_in, sent

PASSWORD = "correct horse battery"


@pytest.fixture
def by_invitation(settings: Any) -> None:
    configure(settings, REGISTRATION="invite")


def register(nobody: ApiClient, username: str, **more: str) -> Any:
    return nobody.post("register/", {"username": username, "password": PASSWORD, **more})


def test_open_registration_needs_none_and_ignores_one(nobody: ApiClient) -> None:
    assert register(nobody, "first").status_code == 201
    made = invitations.make()
    assert register(nobody, "second", invitation=made.code).status_code == 201
    assert register(nobody, "third", invitation="unknown").status_code == 201
    assert Invitation.objects.get().used_at is None


def test_closed_registration_is_refused_with_its_code(nobody: ApiClient, settings: Any) -> None:
    configure(settings, REGISTRATION="closed")
    for more in ({}, {"invitation": invitations.make().code}):
        refused = register(nobody, "newuser", **more)
        assert refused.status_code == 403
        assert refused.json()["code"] == "registration_closed"
    assert not User.objects.exists()


def test_an_invitation_lets_one_user_register(nobody: ApiClient, by_invitation: None) -> None:
    made = invitations.make(email="ann@example.org")
    assert register(nobody, "ann", invitation=made.code).status_code == 201
    row = Invitation.objects.get()
    assert (row.used_by, row.used_at is None) == (User.objects.get(), False)
    assert User.objects.get().email == "ann@example.org"
    assert register(nobody, "another", invitation=made.code).status_code == 400


def test_without_one_the_field_is_required(nobody: ApiClient, by_invitation: None) -> None:
    for more in ({}, {"invitation": ""}):
        refused = register(nobody, "newuser", **more)
        assert (refused.status_code, list(refused.json())) == (400, ["invitation"])
        problem = nobody.ask(
            "POST",
            "register/",
            {"username": "newuser", "password": PASSWORD, **more},
            Accept="application/problem+json",
        ).json()
        assert problem["errors"][0]["pointer"] == "/invitation"
        assert problem["errors"][0]["code"] == "missing"


def invalid_codes() -> dict[str, str]:
    """A code of each kind that is not valid."""
    used, expired, revoked = (invitations.make() for _ in range(3))
    Invitation.objects.filter(pk=used.invitation.pk).update(used_at=timezone.now())
    past = timezone.now() - timedelta(seconds=1)
    Invitation.objects.filter(pk=expired.invitation.pk).update(expires_at=past)
    Invitation.objects.filter(pk=revoked.invitation.pk).update(revoked_at=past)
    codes = {"used": used.code, "expired": expired.code, "revoked": revoked.code}
    return {**codes, "unknown": "A" * 43, "strange": "☃ '\";--", "long": "x" * 10_000}


def test_every_code_that_is_not_valid_gets_the_same_answer(
    nobody: ApiClient, by_invitation: None, new_user: Any
) -> None:
    """The same bytes after the same queries, whichever name is asked for."""
    new_user("taken")
    answers, queries = set(), set()
    for code in invalid_codes().values():
        for name in ("free", "taken"):
            with CaptureQueriesContext(connection) as captured:
                refused = register(nobody, name, invitation=code)
            answers.add((refused.status_code, refused.content))
            queries.add(len(captured))
    assert len(answers) == len(queries) == 1
    status, body = answers.pop()
    assert status == 400
    assert "invitation" in body.decode()


def test_a_refused_registration_leaves_the_invitation_valid(
    nobody: ApiClient, by_invitation: None, new_user: Any
) -> None:
    new_user("taken")
    code = invitations.make().code
    assert register(nobody, "taken", invitation=code).status_code == 400
    assert register(nobody, "a b", invitation=code).status_code == 400
    assert register(nobody, "free", invitation=code).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_of_many_at_the_same_moment_one_registers(nobody: ApiClient, by_invitation: None) -> None:
    code = invitations.make().code

    def attempt(name: str) -> int:
        try:
            return int(register(nobody, name, invitation=code).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(attempt, [f"user-{number}" for number in range(6)]))
    assert statuses == [201, 400, 400, 400, 400, 400]
    assert User.objects.count() == 1
    connection.close()


def test_the_database_has_no_code(db: None) -> None:
    made = invitations.make(email="ann@example.org")
    values = Invitation.objects.values_list().get()
    assert not any(made.code in str(value) for value in values)


def test_the_command_prints_a_link_that_works(
    nobody: ApiClient, by_invitation: None, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(settings, PUBLIC_URL=PUBLIC_URL)
    assert account_commands.invite(days=3, email="") == 0
    said = capsys.readouterr()
    assert said.err == ""
    link = said.out.strip()
    assert re.fullmatch(rf"{PUBLIC_URL}/register/?#[\w-]{{43}}", link)
    assert register(nobody, "ann", invitation=link.partition("#")[2]).status_code == 201
    days = Invitation.objects.get().expires_at - timezone.now()
    assert timedelta(days=2.9) < days < timedelta(days=3)


def test_the_command_sends_a_mail_where_mail_is_configured(
    db: None, by_invitation: None, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_mail(settings)
    assert account_commands.invite(days=7, email="ann@example.org") == 0
    (mail,) = sent()
    assert mail.to == ["ann@example.org"]
    assert link_in(mail.body) == capsys.readouterr().out.strip()


def test_the_command_says_what_is_missing(
    db: None, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(settings, PUBLIC_URL=PUBLIC_URL)
    assert account_commands.invite(days=7, email="ann@example.org") == 0
    said = capsys.readouterr().err
    assert "TASKYARD_REGISTRATION is open" in said
    assert "no mail is configured" in said
    assert account_commands.invite(days=7, email="ann") == 1
    assert "email" in capsys.readouterr().err
    configure(settings, PUBLIC_URL=None)
    assert account_commands.invite(days=7, email="") == 0
    assert re.fullmatch(r"[\w-]{43}\n", capsys.readouterr().out)
