"""The staff pages of service accounts: make them, their keys, and limit their subjects."""

from collections.abc import Callable

import pytest
from django.test import Client

from taskyard.accounts import subjects
from taskyard.accounts.models import ApiKey, ServiceAccount, User
from taskyard.core.models import AuditEntry, Quota
from taskyard.web.staff.views import service_accounts as views
from tests.service_accounts import Backend, new_account, new_key
from tests.web.staff.conftest import browser_of

LIST = "/staff/service-accounts/"


@pytest.fixture
def account(db: None) -> ServiceAccount:
    return new_account()


@pytest.fixture
def its_page(account: ServiceAccount) -> str:
    return f"{LIST}{account.pk}/"


def audit() -> list[tuple[str, str, str]]:
    entries = AuditEntry.objects.order_by("id")
    return list(entries.values_list("by_name", "action", "target"))


def test_an_account_and_its_key_are_made_on_the_page(page: Client) -> None:
    assert "There are no service accounts." in page.get(LIST).content.decode()
    made = page.post(f"{LIST}make/", {"name": "shop"}, follow=True)
    account = ServiceAccount.objects.get()
    assert made.redirect_chain[-1][0] == f"{LIST}{account.pk}/"
    form = {"name": "backend", "scopes": ["tasks:submit", "tasks:read"]}
    shown = page.post(f"{LIST}{account.pk}/keys/", form)
    assert (shown.status_code, "no-store" in shown.headers["Cache-Control"]) == (200, True)
    key = shown.context["new_key"]
    assert key in shown.content.decode()
    assert key not in page.get(f"{LIST}{account.pk}/").content.decode()
    task = Backend(key, "customer-17").create()
    assert task.json()["subject"] == "customer-17"
    row = page.get(LIST).context["rows"][0]
    assert (row["keys"], row["subjects"]) == (1, 1)
    (stored,) = ApiKey.objects.all()
    assert page.post(f"{LIST}{account.pk}/keys/{stored.pk}/revoke/").status_code == 302
    assert Backend(key).get("tasks/").status_code == 401
    assert audit() == [
        ("boss", "create_service_account", "shop"),
        ("boss", "create_key", stored.prefix),
        ("boss", "revoke_key", stored.prefix),
    ]
    assert "made the service account" in page.get("/staff/audit/").content.decode()


@pytest.mark.parametrize(
    "form",
    [{"name": "", "scopes": ["files"]}, {"name": "x"}, {"name": "x", "scopes": ["admin"]},
     {"name": "a\u202eb", "scopes": ["files"]}],
)  # fmt: skip
def test_a_bad_key_is_refused(page: Client, its_page: str, form: dict[str, object]) -> None:
    refused = page.post(f"{its_page}keys/", form, follow=True)
    assert refused.context["new_key"] == ""
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("name", ["", "a/b", "shop", "boss", "x" * 31])
def test_a_bad_name_is_refused(page: Client, account: ServiceAccount, name: str) -> None:
    assert page.post(f"{LIST}make/", {"name": name}, follow=True).status_code == 200
    assert ServiceAccount.objects.get() == account


def test_the_page_makes_no_account_of_a_user_who_is_there(
    page: Client, new_user: Callable[..., User]
) -> None:
    new_user("ann")
    page.post(f"{LIST}make/", {"name": "ann"})
    assert not ServiceAccount.objects.exists()


def test_staff_limit_and_suspend_a_subject(
    page: Client, account: ServiceAccount, its_page: str
) -> None:
    backend = Backend(new_key(account), "customer-17")
    backend.create()
    user = subjects.find_or_create(account.pk, "customer-17")
    (row,) = page.get(its_page).context["rows"]
    assert (row["subject"].name, row["quota"].active, row["limit"]) == ("customer-17", 1, 5)
    assert page.post(f"/staff/users/{user.pk}/limit/", {"limit": "1", "next": its_page}).url == (
        its_page
    )
    assert backend.create().status_code == 400
    page.post(f"/staff/users/{user.pk}/suspend/", {"next": its_page})
    assert backend.create().json()["code"] == "subject_suspended"
    assert "suspended" in page.get(its_page).content.decode()
    page.post(f"/staff/users/{user.pk}/restore/", {"next": its_page})
    assert backend.get("tasks/").status_code == 200
    assert Quota.objects.get(user=user).active_limit == 1


def test_subjects_are_found_by_name_and_their_pages_go_on(
    page: Client, account: ServiceAccount, its_page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "PAGE_SIZE", 2)
    for number in range(4):
        subjects.find_or_create(account.pk, f"customer-{number}")
    subjects.find_or_create(account.pk, "other")

    def names(query: str) -> list[str]:
        return [row["subject"].name for row in page.get(f"{its_page}?{query}").context["rows"]]

    assert names("name=customer") == ["customer-3", "customer-2"]
    older = page.get(f"{its_page}?name=customer").context["older"]
    assert names(f"name=customer&before={older}") == ["customer-1", "customer-0"]
    assert names("name=nobody") == []


def test_accounts_and_subjects_are_no_people(page: Client, account: ServiceAccount) -> None:
    subjects.find_or_create(account.pk, "customer-17")
    Quota.objects.update(active=1)
    for query in ("", "name=shop", "order=active"):
        rows = page.get(f"/staff/users/?{query}").context["rows"]
        assert {row["user"].username for row in rows} <= {"boss"}
    Quota.objects.update(active=0)


def test_the_pages_are_for_staff(
    account: ServiceAccount, its_page: str, new_user: Callable[..., User]
) -> None:
    client = browser_of(new_user("nobody"))
    for path in (LIST, its_page):
        assert client.get(path).status_code == 404
    for path in (f"{LIST}make/", f"{its_page}keys/", f"{its_page}keys/1/revoke/"):
        assert client.post(path, {"name": "x", "scopes": "files"}).status_code == 404
    assert ServiceAccount.objects.count() == 1
    assert not ApiKey.objects.exists()


def test_what_is_not_there_is_a_404(page: Client, its_page: str) -> None:
    for path in (f"{LIST}{2**40}/", f"{LIST}{2**70}/", f"{its_page}?before=x"):
        assert page.get(path).status_code == 404
    for key_id in (2**40, 2**70):
        assert page.post(f"{its_page}keys/{key_id}/revoke/").status_code == 404
