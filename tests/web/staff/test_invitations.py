"""The staff page of invitations: make, list and revoke them."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from taskyard.accounts import invitations
from taskyard.accounts.models import Invitation, User
from taskyard.core.models import AuditEntry
from taskyard.web.staff.views import invitations as views
from tests.api_client import ApiClient
from tests.configured import configure
from tests.mails import PUBLIC_URL, configure_mail, link_in, sent


@pytest.fixture(autouse=True)
def by_invitation(settings: Any) -> None:
    configure(settings, REGISTRATION="invite", PUBLIC_URL=PUBLIC_URL)


def make(page: Client, **fields: str) -> Any:
    return page.post("/staff/invitations/make/", {"days": "7", **fields})


def shown_link(text: str) -> str:
    (link,) = re.findall(r'value="(http[^"]+#[\w-]{43})"', text)
    return str(link)


def register(code: str, name: str = "newuser") -> int:
    body = {"username": name, "password": "correct horse battery", "invitation": code}
    return int(ApiClient(Client()).post("register/", body).status_code)


def lines() -> list[tuple[str, str]]:
    entries = AuditEntry.objects.filter(action__contains="invitation").order_by("id")
    return list(entries.values_list("by_name", "action"))


def test_a_link_is_shown_once_and_works(page: Client, boss: User) -> None:
    answer = make(page, email="ann@example.org")
    link = shown_link(answer.text)
    assert link.startswith(f"{PUBLIC_URL}/register/#")
    assert "no-store" in answer.headers["Cache-Control"]
    code = link.partition("#")[2]
    assert code not in page.get("/staff/invitations/").text
    assert register(code) == 201
    row = Invitation.objects.get()
    assert (row.created_by, row.email) == (boss, "ann@example.org")
    assert lines() == [("boss", "make_invitation")]
    listed = page.get("/staff/invitations/").text
    assert "used" in listed
    assert "newuser" in listed
    assert "boss" in listed
    assert "made the invitation" in page.get("/staff/audit/").text


def test_a_revoked_one_works_no_more(page: Client) -> None:
    code = shown_link(make(page).text).partition("#")[2]
    row = Invitation.objects.get()
    for _ in range(2):
        page.post(f"/staff/invitations/{row.pk}/revoke/")
    assert register(code) == 400
    assert "revoked" in page.get("/staff/invitations/").text
    assert lines() == [("boss", "make_invitation"), ("boss", "revoke_invitation")]


def test_a_used_one_cannot_be_revoked(page: Client) -> None:
    made = invitations.make()
    assert register(made.code) == 201
    answer = page.post(f"/staff/invitations/{made.invitation.pk}/revoke/", follow=True)
    (message,) = answer.context["messages"]
    assert message.level_tag == "error"
    assert Invitation.objects.get().revoked_at is None


@pytest.mark.parametrize("number", [0, 987654, 2**63, 10**30])
def test_one_that_is_none_is_not_there(page: Client, number: int) -> None:
    assert page.post(f"/staff/invitations/{number}/revoke/").status_code == 404


@pytest.mark.parametrize("fields", [{"days": "0"}, {"days": "366"}, {"days": "x"}, {"email": "x"}])
def test_a_wrong_form_is_refused_at_its_place(page: Client, fields: dict[str, str]) -> None:
    refused = make(page, **fields)
    assert refused.status_code == 400
    assert refused.text.count('class="error"') == 1
    assert not Invitation.objects.exists()


def test_the_state_of_each_is_listed(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "PAGE_SIZE", 2)
    made = [invitations.make().invitation.pk for _ in range(3)]
    past = timezone.now() - timedelta(days=1)
    Invitation.objects.filter(pk=made[2]).update(expires_at=past)
    first = page.get("/staff/invitations/")
    assert [row.pk for row in first.context["rows"]] == [made[2], made[1]]
    assert "expired" in first.text
    assert "not used yet" in first.text
    assert "on the server" in first.text
    second = page.get(f"/staff/invitations/?before={first.context['older']}")
    assert [row.pk for row in second.context["rows"]] == [made[0]]


def test_the_page_says_if_invitations_have_no_effect(page: Client, settings: Any) -> None:
    assert "no effect" not in page.get("/staff/invitations/").text
    assert "/staff/invitations/" in page.get("/staff/users/").text
    configure(settings, REGISTRATION="open")
    assert "no effect" in page.get("/staff/invitations/").text
    assert "/staff/invitations/" not in page.get("/staff/users/").text


@pytest.mark.django_db(transaction=True)
def test_it_is_sent_where_mail_is_configured(new_user: Callable[..., User], settings: Any) -> None:
    configure_mail(settings)
    client = Client(headers={"Accept-Language": "en"})
    client.force_login(new_user("boss", is_staff=True))
    answer = make(client, email="ann@example.org")
    (mail,) = sent()
    assert mail.to == ["ann@example.org"]
    assert link_in(mail.body) == shown_link(answer.text)
