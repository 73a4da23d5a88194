"""Viewers see the pages of staff and change nothing; a setting hides the data of others."""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import URLPattern, reverse

from taskyard.accounts import invitations, keys
from taskyard.accounts.models import User
from taskyard.accounts.new_key import NewKey
from taskyard.accounts.roles import VIEWERS, Role, set_role
from taskyard.accounts.scopes import Scope
from taskyard.core import intake, lifecycle, queues, roles
from taskyard.core.models import AuditEntry, LogLine, Quota, Task
from taskyard.core.states import Status
from taskyard.core.types import Traceback
from taskyard.files.models import StoredFile
from taskyard.web.staff.urls import urlpatterns
from tests.configured import configure
from tests.fake_worker import FakeWorker
from tests.service_accounts import new_account
from tests.web import file_types  # noqa: F401  # registers them
from tests.web.staff.conftest import browser_of
from tests.web.test_files import upload

Submit = Callable[..., Task]
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
SECRETS = ("key-in-the-input", "key-in-the-result", "key-in-the-error", "key-in-the-log",
           "key-in-the-traceback", "key-in-the-name.csv")  # fmt: skip


@pytest.fixture
def viewer(new_user: Callable[..., User]) -> User:
    user = new_user("viewer")
    set_role(user, Role.VIEWER)
    return user


@pytest.fixture
def watch(viewer: User) -> Client:
    """A client with the session of a viewer."""
    return browser_of(viewer)


def address_of(pattern: URLPattern, **ids: int) -> str:
    """The address of a view, for rows that exist."""
    arguments = {name: ids[name] for name in pattern.pattern.converters}
    return reverse(f"taskyard_web:{pattern.name}", kwargs=arguments)


@pytest.fixture
def ids(owner: User, submit: Submit, fake_worker: FakeWorker) -> dict[str, int]:
    """A user, a task in error and a file, with secrets in all that a page could show of them."""
    file = upload(owner, name="key-in-the-name.csv")
    with_file = lifecycle.submit(
        owner.pk, intake.parse_task({"task_type": "takes-a-file", "input_data": {"file": file.pk}})
    )
    lifecycle.cancel(with_file.pk, by_id=None)
    done = submit(input_data={"numbers": [1], "note": "key-in-the-input"})
    fake_worker.end(Status.COMPLETED, result='{"result": "key-in-the-result"}')
    failed = submit(input_data={"numbers": [1], "note": "key-in-the-input"})
    LogLine.objects.create(task=failed, attempt=1, at=failed.created_at, message="key-in-the-log")
    fake_worker.end(
        Status.ERROR,
        error_code="exception",
        error_message="ValueError: key-in-the-error",
        traceback=Traceback("ValueError", "app.py:1", "key-in-the-traceback"),
    )
    account = new_account()
    keys.create(account.user, NewKey(name="backend", scopes=[Scope.FILES]))
    return {
        "account_id": account.pk, "key_id": keys.of_user(account.user)[0].pk,
        "user_id": owner.pk, "file_id": file.pk, "task_id": failed.pk,
        "done_id": done.pk, "with_file_id": with_file.pk,
        "invitation_id": invitations.make().invitation.pk,
    }  # fmt: skip


def state() -> list[Any]:
    """All that a view for operators could change."""
    return [
        list(User.objects.order_by("pk").values_list("pk", "is_active", "is_staff")),
        list(Group.objects.values_list("name", "user")),
        list(Quota.objects.order_by("pk").values_list("pk", "active_limit", "active")),
        list(Task.objects.order_by("pk").values_list("pk", "status", "cancel_requested_at")),
        list(StoredFile.objects.values_list("pk", "state")),
        sorted(queues.paused()),
        AuditEntry.objects.count(),
    ]


SENT = {
    "queue": "default",
    "limit": "99",
    "role": "operator",
    "until": "2099-01-01T00:00:00+00:00",
    "days": "7",
}


def test_every_view_of_staff_declares_its_role() -> None:
    for pattern in urlpatterns:
        assert isinstance(pattern.callback.staff_role, Role), pattern.name  # type: ignore[attr-defined]
        is_safe = set(pattern.callback.staff_methods) <= {"GET", "HEAD"}  # type: ignore[attr-defined]
        # A view that takes a POST is for operators, also if it shows a page.
        assert is_safe or pattern.callback.staff_role is Role.OPERATOR, pattern.name  # type: ignore[attr-defined]


@pytest.mark.parametrize("pattern", urlpatterns, ids=lambda pattern: pattern.name)
def test_a_viewer_reads_every_page_and_changes_nothing(
    watch: Client, ids: dict[str, int], pattern: URLPattern
) -> None:
    before = state()
    address = address_of(pattern, **ids)
    methods = pattern.callback.staff_methods  # type: ignore[attr-defined]
    is_page = pattern.callback.staff_role is Role.VIEWER  # type: ignore[attr-defined]
    if "GET" in methods:
        assert watch.get(address).status_code == (200 if is_page else 403)
        assert watch.head(address).status_code == (200 if is_page else 403)
    for method in UNSAFE:
        expected = 403 if method in methods else 405
        assert watch.generic(method, address, **SENT_FORM).status_code == expected, method
    assert state() == before


SENT_FORM: dict[str, Any] = {
    "data": "&".join(f"{name}={value.replace('+', '%2B')}" for name, value in SENT.items()),
    "content_type": "application/x-www-form-urlencoded",
}


@pytest.mark.parametrize("pattern", urlpatterns, ids=lambda pattern: pattern.name)
def test_an_operator_may_do_all_of_it(
    page: Client, ids: dict[str, int], pattern: URLPattern
) -> None:
    address = address_of(pattern, **ids)
    method = "GET" if "GET" in pattern.callback.staff_methods else "POST"  # type: ignore[attr-defined]
    answer = page.generic(method, address, **SENT_FORM)
    # The answer that makes an invitation shows its link, which no later page can show.
    shows = method == "GET" or pattern.name == "staff-invite"
    assert answer.status_code == (200 if shows else 302)


def pages(**ids: int) -> list[str]:
    """The addresses of all pages, with searches that find the task, and of the user's files."""
    of_views = [
        address_of(pattern, **ids)
        for pattern in urlpatterns
        if pattern.callback.staff_role is Role.VIEWER  # type: ignore[attr-defined]
    ]
    return [
        *of_views,
        f"/staff/tasks/{ids['done_id']}/",
        f"/staff/tasks/{ids['with_file_id']}/",
        "/staff/tasks/?exception=ValueError",
        "/staff/tasks/?status=error",
        "/staff/files/?owner=owner",
        "/staff/errors/?window=7d",
    ]


def test_a_viewer_is_shown_no_control(watch: Client, page: Client, ids: dict[str, int]) -> None:
    of_others = re.compile(
        r'<form method="post" action="/staff/|href="/staff/[^"]*(?:cancel|retry|export)/'
    )
    with_controls = [each for each in pages(**ids) if of_others.search(page.get(each).text)]
    assert len(with_controls) >= 6  # tasks, a task, queues, errors, users, files, audit
    for address in pages(**ids):
        assert not of_others.search(watch.get(address).text), address


def test_a_viewer_sees_no_data_of_others(
    watch: Client, page: Client, ids: dict[str, int], settings: Any
) -> None:
    shown = {secret for each in pages(**ids) for secret in SECRETS if secret in page.get(each).text}
    assert shown == set(SECRETS)
    for address in pages(**ids):
        answer = watch.get(address)
        assert answer.status_code == 200
        assert not [secret for secret in SECRETS if secret in answer.text], address
    configure(settings, VIEWERS_SEE_DATA=True)
    text = "".join(watch.get(address).text for address in pages(**ids))
    assert all(secret in text for secret in SECRETS)


def test_a_search_tells_a_viewer_no_message(
    watch: Client, page: Client, ids: dict[str, int]
) -> None:
    guess = {"exception": "ValueError: key-in-the-error"}
    assert len(page.get("/staff/tasks/", guess).context["results"].tasks) == 1
    assert watch.get("/staff/tasks/", guess).status_code == 400
    assert len(watch.get("/staff/tasks/?exception=ValueError").context["results"].tasks) == 1


def test_addresses_of_log_ins_are_data_too(watch: Client, page: Client, owner: User) -> None:
    AuditEntry.objects.create(by_name="owner", action="log_in", address="203.0.113.7")
    assert "203.0.113.7" in page.get("/staff/audit/").text
    assert "203.0.113.7" not in watch.get("/staff/audit/").text


def test_e_mails_of_invitations_are_data_too(watch: Client, page: Client, settings: Any) -> None:
    invitations.make(email="ann@example.org")
    assert "ann@example.org" in page.get("/staff/invitations/").text
    assert "ann@example.org" not in watch.get("/staff/invitations/").text
    configure(settings, VIEWERS_SEE_DATA=True)
    assert "ann@example.org" in watch.get("/staff/invitations/").text


def test_a_viewer_is_led_to_the_pages_and_others_are_not(watch: Client, owner: User) -> None:
    assert 'href="/staff/"' in watch.get("/tasks/").text
    assert 'href="/admin/"' not in watch.get("/tasks/").text
    assert 'href="/staff/"' not in browser_of(owner).get("/tasks/").text


def test_without_viewers_a_page_of_an_owner_asks_for_no_permission(
    owner: User, django_assert_num_queries: Any
) -> None:
    roles.forget_links()
    client = browser_of(owner)
    client.get("/tasks/")
    user = User.objects.get(pk=owner.pk)
    with django_assert_num_queries(0):
        assert not roles.sees_links(user)


def test_who_loses_the_role_is_out_at_once(viewer: User, watch: Client) -> None:
    assert watch.get("/staff/").status_code == 200
    set_role(viewer, Role.OWNER)
    assert watch.get("/staff/").status_code == 404
    assert watch.post("/staff/queues/pause/", {"queue": "default"}).status_code == 404


def test_a_viewer_who_leaves_the_group_by_hand_is_no_operator(viewer: User, watch: Client) -> None:
    viewer.groups.clear()
    assert watch.get("/staff/").status_code == 404
    set_role(viewer, Role.VIEWER)
    Group.objects.filter(name=VIEWERS).delete()
    assert watch.get("/staff/").status_code == 404


def test_permissions_of_a_project_serve(owner: User) -> None:
    client = browser_of(owner)
    owner.user_permissions.add(Permission.objects.get(codename="view_staff"))
    assert client.get("/staff/").status_code == 200
    assert client.post("/staff/queues/pause/", {"queue": "default"}).status_code == 403
    group = Group.objects.create(name="the night shift")
    group.permissions.add(Permission.objects.get(codename="operate"))
    owner.groups.add(group)
    assert client.post("/staff/queues/pause/", {"queue": "default"}).status_code == 302


def test_is_staff_in_the_group_is_a_viewer(boss: User, page: Client) -> None:
    assert page.post("/staff/queues/pause/", {"queue": "default"}).status_code == 302
    group = Group.objects.create(name="watchers")
    group.permissions.add(Permission.objects.get(codename="view_staff"))
    boss.groups.add(group)
    assert page.post("/staff/queues/resume/", {"queue": "default"}).status_code == 403
    assert page.get("/staff/queues/").status_code == 200


def roles_in(client: Client) -> dict[str, tuple[str, list[str]]]:
    """The role of each user on the page, and the roles that may be given."""
    rows = client.get("/staff/users/").context["rows"]
    return {
        row["user"].username: (str(row["role"]), [role for role, _ in row["roles"]]) for row in rows
    }


def test_roles_are_given_on_the_page(
    page: Client, boss: User, owner: User, viewer: User, new_user: Callable[..., User]
) -> None:
    new_user("peer", is_staff=True)
    root = new_user("root", is_staff=True, is_superuser=True)
    to_owners = ["owner", "viewer"]
    assert roles_in(page) == {
        "root": ("operator", []), "peer": ("operator", []), "boss": ("operator", []),
        "owner": ("owner", to_owners), "viewer": ("viewer", to_owners),
    }  # fmt: skip
    everything = ["owner", "viewer", "operator"]
    assert roles_in(browser_of(root))["peer"] == ("operator", everything)
    address = f"/staff/users/{owner.pk}/role/"
    answer = page.post(address, {"role": "viewer", "next": "/staff/users/?name=own"})
    assert answer.url == "/staff/users/?name=own"
    assert roles_in(page)["owner"][0] == "viewer"
    line = AuditEntry.objects.latest("id")
    assert (line.by_name, line.action, line.target) == ("boss", "change_role", "owner")
    assert line.details == {"before": "owner", "after": "viewer"}
    assert "user → viewer" in page.get("/staff/audit/").text


@pytest.mark.parametrize("role", ["owner", "viewer", "operator"])
def test_nobody_changes_the_own_role_or_that_of_somebody_above(
    page: Client, boss: User, new_user: Callable[..., User], role: str
) -> None:
    root = new_user("root", is_staff=True, is_superuser=True)
    by_group = new_user("by-group")
    by_group.user_permissions.add(Permission.objects.get(codename="operate"))
    people = (boss, new_user("peer", is_staff=True), root, by_group)
    before = state()
    for user in people:
        answer = page.post(f"/staff/users/{user.pk}/role/", {"role": role}, follow=True)
        (message,) = answer.context["messages"]
        assert message.level_tag == "error"
    assert state() == before


def test_an_operator_makes_no_operators_and_a_superuser_does(
    page: Client, owner: User, new_user: Callable[..., User]
) -> None:
    address = f"/staff/users/{owner.pk}/role/"
    page.post(address, {"role": "operator"})
    owner.refresh_from_db()
    assert not owner.is_staff
    root = browser_of(new_user("root", is_staff=True, is_superuser=True))
    root.post(address, {"role": "operator"})
    owner.refresh_from_db()
    assert owner.is_staff
    assert browser_of(owner).get("/staff/tasks/cancel/").status_code == 200


@pytest.mark.parametrize("user_id", [0, 987654, 2**63, 10**30])
def test_a_user_who_is_none_has_no_role(page: Client, user_id: int) -> None:
    assert page.post(f"/staff/users/{user_id}/role/", {"role": "viewer"}).status_code == 404


@pytest.mark.parametrize("role", ["", "superuser", "VIEWER", "x" * 9999])
def test_a_role_that_is_none_is_refused(page: Client, owner: User, role: str) -> None:
    assert page.post(f"/staff/users/{owner.pk}/role/", {"role": role}).status_code == 404
    assert not AuditEntry.objects.exists()


def test_the_questions_are_as_many_however_many_users(
    page: Client, new_user: Callable[..., User], django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        set_role(new_user(f"person-{number}"), Role.VIEWER)
    with django_assert_max_num_queries(14):
        page.get("/staff/users/")


def give_admin(user: User) -> None:
    """All of the admin's permissions, but not those that make a role."""
    user.is_staff = True
    user.save()
    ours = Permission.objects.filter(content_type__app_label__startswith="taskyard")
    user.user_permissions.set(ours.exclude(codename="operate"))


def test_the_admin_shows_a_viewer_rows_without_data_and_changes_nothing(
    boss: User, owner: User, ids: dict[str, int], new_user: Callable[..., User], settings: Any
) -> None:
    give_admin(boss)
    admin = browser_of(boss)
    queues.pause("default", by_id=None)
    paused = "/admin/taskyard/pausedqueue/"
    task = f"/admin/taskyard/task/{ids['task_id']}/"
    file = f"/admin/taskyard_files/storedfile/{ids['file_id']}/"
    user = f"/admin/taskyard_accounts/user/{owner.pk}/"
    before = state()
    shown = admin.get(f"{task}change/")
    assert shown.status_code == 200
    assert not [secret for secret in SECRETS if secret in shown.text]
    assert admin.get(f"{file}change/").status_code == 403
    for address in (f"{task}delete/", f"{paused}default/delete/", f"{user}delete/"):
        assert admin.post(address, {"post": "yes"}).status_code == 403
    for address in (f"{paused}add/", f"{user}change/", "/admin/taskyard_accounts/user/add/"):
        assert admin.post(address, {"name": "default", "username": "x"}).status_code == 403
    action = {"action": "cancel", "_selected_action": [ids["task_id"]]}
    admin.post("/admin/taskyard/task/", action)
    assert state() == before
    guesses = [
        f"/admin/taskyard/task/?{name}__startswith=key"
        for name in ("input_data", "result", "error_message", "progress", "checkpoint")
    ]
    guesses += [
        f"/admin/taskyard/auditentry/?{name}__startswith=2" for name in ("address", "details")
    ]
    for address in guesses:
        assert admin.get(address).status_code == 400, address
    assert admin.get("/admin/taskyard/task/?error_code__startswith=e").status_code == 200
    configure(settings, VIEWERS_SEE_DATA=True)
    assert {admin.get(address).status_code for address in guesses} == {200}
    assert "key-in-the-error" in admin.get(f"{task}change/").text
    assert "key-in-the-name.csv" in admin.get(f"{file}change/").text


def test_a_change_of_role_in_the_admin_leaves_a_line(
    owner: User, viewer: User, new_user: Callable[..., User]
) -> None:
    admin = browser_of(new_user("root", is_staff=True, is_superuser=True))
    AuditEntry.objects.all().delete()
    form = {
        "username": "owner", "is_active": "on", "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00:00", "quota-TOTAL_FORMS": "0", "quota-INITIAL_FORMS": "0",
    }  # fmt: skip
    address = f"/admin/taskyard_accounts/user/{owner.pk}/change/"
    group = Group.objects.get(name=VIEWERS).pk
    for given in ({"groups": [group]}, {"is_staff": "on"}, {"is_superuser": "on"}, {}):
        assert admin.post(address, form | given).status_code == 302
    details = AuditEntry.objects.order_by("id").values_list("action", "details")
    steps = ["owner", "viewer", "operator", "superuser", "owner"]
    assert [(action, (each["before"], each["after"])) for action, each in details] == [
        ("change_role", pair) for pair in pairwise(steps)
    ]
