"""The staff pages return 404 to other users."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from taskyard.accounts.models import User
from taskyard.core import queues
from taskyard.core.models import AuditEntry, Quota, Task
from taskyard.core.states import Status
from taskyard.web.staff.urls import urlpatterns
from tests.web.staff.conftest import browser_of

READ = (
    "",
    "tasks/",
    "tasks/cancel/",
    "tasks/retry/",
    "queues/",
    "errors/",
    "users/",
    "invitations/",
    "service-accounts/",
    "audit/",
    "files/",
)
DOWNLOADS = ("audit/export/",)
ACT = (
    "tasks/cancel/",
    "tasks/retry/",
    "queues/pause/",
    "queues/resume/",
    "users/1/limit/",
    "users/1/role/",
    "users/1/suspend/",
    "users/1/restore/",
    "invitations/make/",
    "invitations/1/revoke/",
    "service-accounts/make/",
    "service-accounts/1/keys/",
    "service-accounts/1/keys/1/revoke/",
    "files/1/delete/",
)


def test_every_address_is_looked_at_here() -> None:
    checked = {"tasks/1/", "service-accounts/1/", *READ, *DOWNLOADS, *ACT}
    for pattern in urlpatterns:
        arguments = dict.fromkeys(pattern.pattern.converters, 1)
        address = reverse(f"taskyard_web:{pattern.name}", kwargs=arguments)
        assert address.removeprefix("/staff/") in checked


@pytest.mark.parametrize("address", [*READ, *DOWNLOADS, "tasks/1/"])
def test_who_has_not_signed_in_is_sent_to_do_so(db: None, address: str) -> None:
    answer = Client().get(f"/staff/{address}")
    assert answer.status_code == 302
    assert answer.url.startswith("/sign-in/?next=/staff/")


@pytest.mark.parametrize("address", [*READ, *DOWNLOADS, "tasks/1/"])
def test_to_an_owner_no_page_is_there(
    owner: User, submit: Callable[..., Task], address: str
) -> None:
    submit(tags=("secret-tag",))
    answer = browser_of(owner).get(f"/staff/{address}")
    assert answer.status_code == 404
    assert b"secret-tag" not in answer.content


@pytest.mark.parametrize("address", ACT)
def test_an_owner_changes_nothing(owner: User, submit: Callable[..., Task], address: str) -> None:
    task = submit()
    sent = {"queue": "default", "limit": "99", "until": "2099-01-01T00:00:00+00:00"}
    sent["role"] = "operator"
    answer = browser_of(owner).post(f"/staff/{address}".replace("/1/", f"/{owner.pk}/"), sent)
    assert answer.status_code == 404
    owner.refresh_from_db()
    task.refresh_from_db()
    assert not owner.is_staff
    assert (owner.is_active, Quota.objects.get(user=owner).active_limit) == (True, None)
    assert task.status == Status.PENDING
    assert queues.paused() == set()
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("address", ACT)
def test_a_post_without_its_token_is_refused(boss: User, address: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(boss)
    answer = client.post(f"/staff/{address}".replace("/1/", f"/{boss.pk}/"), {"queue": "default"})
    assert answer.status_code == 403
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("address", [each for each in ACT if each not in READ])
def test_a_link_changes_nothing(page: Client, address: str) -> None:
    assert page.get(f"/staff/{address}").status_code == 405


def test_who_is_suspended_is_out_at_once(boss: User, page: Client) -> None:
    assert page.get("/staff/").status_code == 200
    User.objects.filter(pk=boss.pk).update(is_active=False)
    assert page.get("/staff/").status_code == 302


@pytest.mark.parametrize("address", READ)
def test_no_page_is_kept_or_has_a_script_or_style_of_its_own(page: Client, address: str) -> None:
    answer = page.get(f"/staff/{address}")
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    text = answer.content.decode()
    for forbidden in ("<style", " style=", "<script>", " onclick=", "javascript:"):
        assert forbidden not in text
