"""The staff page of users: their tasks, their limits, suspending them."""

from collections.abc import Callable

import pytest
from django.test import Client

from taskyard.accounts.models import User
from taskyard.core import quotas
from taskyard.core.errors import ActiveLimitExceeded
from taskyard.core.models import AuditEntry, Quota, Task
from taskyard.core.states import Status
from taskyard.web.staff.views import users
from tests.api_client import ApiClient
from tests.fake_worker import FakeWorker
from tests.web.staff.conftest import browser_of

Submit = Callable[..., Task]


def lines() -> list[tuple[str, str, str]]:
    rows = AuditEntry.objects.order_by("id")
    return list(rows.values_list("by_name", "action", "target"))


def rows(page: Client, query: str = "") -> dict[str, tuple[int, int]]:
    context = page.get(f"/staff/users/?{query}").context
    return {row["user"].username: (row["quota"].active, row["limit"]) for row in context["rows"]}


def test_it_says_what_everybody_has(
    page: Client, submit: Submit, owner: User, fake_worker: FakeWorker
) -> None:
    User.objects.create(username="made-by-command", password="!")
    Quota.objects.filter(user=owner).update(active_limit=0)
    Quota.objects.filter(user__username="boss").update(active_limit=9)
    submit(by=User.objects.get(username="boss"))
    assert rows(page) == {"made-by-command": (0, 5), "owner": (0, 0), "boss": (1, 9)}
    assert rows(page, "order=active") == {"boss": (1, 9)}
    assert list(rows(page, "name=OWN")) == ["owner"]
    assert rows(page, "name=nobody") == {}


def test_its_pages_go_on(
    page: Client, new_user: Callable[..., User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "PAGE_SIZE", 2)
    for number in range(4):
        new_user(f"person-{number}")
    first = page.get("/staff/users/?name=person")
    assert [row["user"].username for row in first.context["rows"]] == ["person-3", "person-2"]
    second = page.get(f"/staff/users/?name=person&before={first.context['older']}")
    assert [row["user"].username for row in second.context["rows"]] == ["person-1", "person-0"]
    assert second.context["older"] is None


def test_a_limit_is_changed_and_holds(
    page: Client, boss: User, owner: User, submit: Submit
) -> None:
    for limit in ("1", "1"):
        page.post(f"/staff/users/{owner.pk}/limit/", {"limit": limit})
    submit()
    with pytest.raises(ActiveLimitExceeded):
        submit()
    page.post(f"/staff/users/{owner.pk}/limit/", {"limit": ""})
    assert Quota.objects.get(user=owner).active_limit is None
    submit()
    assert lines() == [("boss", "change_limit", "owner")] * 2
    details = list(AuditEntry.objects.order_by("id").values_list("details", flat=True))
    assert details == [{"before": None, "after": 1}, {"before": 1, "after": None}]
    assert "– → 1" in page.get("/staff/audit/").content.decode()


def test_a_weight_is_changed_with_the_limit(page: Client, owner: User) -> None:
    path = f"/staff/users/{owner.pk}/limit/"
    page.post(path, {"limit": "", "weight": "2.5"})
    page.post(path, {"limit": ""})
    assert Quota.objects.get(user=owner).weight == 2.5
    assert lines() == [("boss", "change_weight", "owner")]
    assert "1.0 → 2.5" in page.get("/staff/audit/").content.decode()
    assert 'name="weight" min="0.01" max="100" step="any" value="2.5"' in (
        page.get("/staff/users/").content.decode()
    )


@pytest.mark.parametrize("weight", ["0", "-1", "x", "nan", "inf", "101", "0.001"])
def test_a_weight_that_is_none_is_refused(page: Client, owner: User, weight: str) -> None:
    page.post(f"/staff/users/{owner.pk}/limit/", {"limit": "3", "weight": weight})
    assert "owner: " in page.get("/staff/users/").content.decode()
    assert not Quota.objects.exclude(weight=1, active_limit=None).exists()


@pytest.mark.parametrize("limit", ["-1", "x", "2147483648", "1.5", "9" * 40])
def test_a_limit_that_is_none_is_refused(page: Client, owner: User, limit: str) -> None:
    answer = page.post(f"/staff/users/{owner.pk}/limit/", {"limit": limit}, follow=True)
    (message,) = answer.context["messages"]
    assert message.level_tag == "error"
    assert Quota.objects.get(user=owner).active_limit is None
    assert lines() == []


def test_a_change_leads_back_to_where_it_was_made(page: Client, owner: User) -> None:
    address = f"/staff/users/{owner.pk}/limit/"
    back = page.post(address, {"limit": "2", "next": "/staff/users/?name=own"})
    assert back.url == "/staff/users/?name=own"
    for evil in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        assert page.post(address, {"limit": "3", "next": evil}).url == "/staff/users/"


def test_who_is_suspended_comes_in_no_way_until_restored(
    page: Client, owner: User, as_user: Callable[[User], ApiClient]
) -> None:
    api, pages = as_user(owner), browser_of(owner)
    assert api.get("me/").status_code == 200
    for _ in range(2):
        page.post(f"/staff/users/{owner.pk}/suspend/")
    assert api.get("me/").status_code == 401
    assert api.create().status_code == 401
    assert pages.get("/tasks/").status_code == 302
    page.post(f"/staff/users/{owner.pk}/restore/")
    assert api.get("me/").status_code == 200
    assert lines() == [("boss", "suspend_user", "owner"), ("boss", "restore_user", "owner")]


def test_nobody_is_locked_out_by_their_own_hand_or_a_peers(
    page: Client, boss: User, new_user: Callable[..., User]
) -> None:
    peer = new_user("peer", is_staff=True)
    root = new_user("root", is_staff=True, is_superuser=True)
    for user in (boss, peer, root):
        answer = page.post(f"/staff/users/{user.pk}/suspend/", follow=True)
        (message,) = answer.context["messages"]
        assert message.level_tag == "error"
        assert User.objects.get(pk=user.pk).is_active
    assert lines() == []
    browser_of(root).post(f"/staff/users/{boss.pk}/suspend/")
    assert not User.objects.get(pk=boss.pk).is_active
    assert page.get("/staff/").status_code == 302


@pytest.mark.parametrize("verb", ["limit", "suspend", "restore"])
@pytest.mark.parametrize("user_id", [0, 987654, 2**63, 10**30])
def test_a_user_who_is_none_is_not_there(page: Client, verb: str, user_id: int) -> None:
    assert page.post(f"/staff/users/{user_id}/{verb}/", {"limit": "1"}).status_code == 404


def test_the_admin_leaves_lines_too(new_user: Callable[..., User], owner: User) -> None:
    admin = browser_of(new_user("root", is_staff=True, is_superuser=True))
    address = f"/admin/taskyard_accounts/user/{owner.pk}/change/"
    form = {
        "username": "owner",
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00",
        "quota-TOTAL_FORMS": "1",
        "quota-INITIAL_FORMS": "1",
        "quota-0-user": str(owner.pk),
        "quota-0-active_limit": "7",
    }
    assert admin.post(address, form).status_code == 302
    assert Quota.objects.get(user=owner).active_limit == 7
    assert lines() == [("root", "suspend_user", "owner"), ("root", "change_limit", "owner")]


def test_an_audit_line_outlives_who_made_it_and_is_read_only(
    page: Client, boss: User, owner: User, new_user: Callable[..., User]
) -> None:
    page.post(f"/staff/users/{owner.pk}/limit/", {"limit": "3"})
    boss.delete()
    root = new_user("root", is_staff=True, is_superuser=True)
    assert "boss" in browser_of(root).get("/staff/audit/").content.decode()
    line = AuditEntry.objects.get()
    admin = browser_of(root)
    address = "/admin/taskyard/auditentry/"
    assert admin.get(address).status_code == 200
    assert admin.get(f"{address}{line.pk}/change/").status_code == 200
    assert admin.post(f"{address}{line.pk}/change/", {"action": "x"}).status_code == 403
    assert admin.post(f"{address}{line.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin.get(f"{address}add/").status_code == 403
    assert list(AuditEntry.objects.values_list("action", flat=True)) == ["change_limit"]


def test_the_audit_goes_on(page: Client, owner: User) -> None:
    for number in range(103):
        page.post(f"/staff/users/{owner.pk}/limit/", {"limit": str(number)})
    first = page.get("/staff/audit/").context
    assert len(first["lines"]) == 100
    second = page.get(f"/staff/audit/?before={first['older']}").context
    assert (len(second["lines"]), second["older"]) == (3, None)


def test_active_tasks_of_a_suspended_user_go_on(
    page: Client, owner: User, submit: Submit, fake_worker: FakeWorker
) -> None:
    task = submit()
    page.post(f"/staff/users/{owner.pk}/suspend/")
    fake_worker.end(Status.COMPLETED)
    assert Task.objects.get(pk=task.pk).status == Status.COMPLETED
    assert quotas.limits(owner.pk).active == 0
