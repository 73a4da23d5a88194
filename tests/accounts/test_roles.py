"""Roles of users: what gives them, what takes them away, and the command of the server's host."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, Permission

from taskyard.accounts.models import User
from taskyard.accounts.roles import VIEWERS, Role, assignable, change_role, role_of, set_role
from taskyard.core.models import AuditEntry
from taskyard.core.roles import roles_of
from taskyard.server import staff
from taskyard.server.env import ConfigurationError
from tests.api_client import ApiClient

NewUser = Callable[..., User]


def fresh(user: User) -> User:
    return User.objects.get(pk=user.pk)


def both(user: User) -> set[Role]:
    """The role of one request, and that of a list: they must be the same."""
    return {role_of(fresh(user)), roles_of([user])[user.pk]}


def permission(codename: str) -> Permission:
    return Permission.objects.get(codename=codename, content_type__app_label="taskyard")


def test_what_gives_a_role(new_user: NewUser) -> None:
    assert both(new_user("a")) == {Role.OWNER}
    # As before there were roles: is_staff alone makes an operator.
    assert both(new_user("b", is_staff=True)) == {Role.OPERATOR}
    assert both(new_user("c", is_superuser=True)) == {Role.OPERATOR}
    for codename, role in (("view_staff", Role.VIEWER), ("operate", Role.OPERATOR)):
        itself, by_group = new_user(f"{codename}-1"), new_user(f"{codename}-2", is_staff=True)
        itself.user_permissions.add(permission(codename))
        group = Group.objects.create(name=codename)
        group.permissions.add(permission(codename))
        by_group.groups.add(group)
        assert both(itself) == both(by_group) == {role}


ALL = [(before, after) for before in Role for after in Role]


@pytest.mark.parametrize(("before", "after"), ALL)
def test_a_role_is_set_whatever_it_was(new_user: NewUser, before: Role, after: Role) -> None:
    user = new_user("ann")
    set_role(user, before)
    AuditEntry.objects.all().delete()
    assert set_role(user, after) is (before is not after)
    assert both(user) == {role_of(user)} == {after}
    assert fresh(user).is_staff is (after is Role.OPERATOR)
    lines = list(AuditEntry.objects.values_list("action", "target", "by_name", "details"))
    details = {"before": str(before), "after": str(after)}
    assert lines == ([] if before is after else [("change_role", "ann", "", details)])


def test_the_object_that_was_given_knows_its_new_role(new_user: NewUser) -> None:
    user = new_user("ann")
    assert role_of(user) is Role.OWNER
    set_role(user, Role.VIEWER)
    assert role_of(user) is Role.VIEWER
    set_role(user, Role.OWNER)
    assert role_of(user) is Role.OWNER


@pytest.mark.parametrize("role", [Role.OWNER, Role.VIEWER])
def test_a_stale_group_keeps_no_role(new_user: NewUser, role: Role) -> None:
    user = new_user("ann", is_staff=True)
    user.user_permissions.add(permission("operate"), permission("view_staff"))
    for number in range(2):
        group = Group.objects.create(name=f"old-{number}")
        group.permissions.add(permission("operate"))
        user.groups.add(group)
    unrelated = Group.objects.create(name="unrelated")
    user.groups.add(unrelated)
    set_role(user, role)
    assert both(user) == {role}
    assert unrelated in user.groups.all()
    # And who then leaves the group of viewers is an owner, never an operator.
    user.groups.clear()
    user.user_permissions.clear()
    assert both(user) == {Role.OWNER}


def test_a_superuser_stays_one(new_user: NewUser) -> None:
    root = new_user("root", is_superuser=True, is_staff=True)
    assert not set_role(root, Role.OWNER)
    assert role_of(fresh(root)) is Role.OPERATOR
    assert fresh(root).is_staff


def test_a_viewer_of_the_admin_becomes_a_plain_viewer(new_user: NewUser) -> None:
    user = new_user("ann", is_staff=True)
    user.user_permissions.add(permission("view_staff"))
    assert both(user) == {Role.VIEWER}
    assert set_role(user, Role.VIEWER)
    assert not fresh(user).is_staff


def test_a_suspended_viewer_is_shown_as_one(new_user: NewUser) -> None:
    user = new_user("ann")
    set_role(user, Role.VIEWER)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert roles_of([user]) == {user.pk: Role.VIEWER}
    assert role_of(fresh(user)) is Role.OWNER  # Django gives no permission
    assert set_role(fresh(user), Role.OWNER)
    assert roles_of([user]) == {user.pk: Role.OWNER}


def test_who_may_give_what(new_user: NewUser) -> None:
    ann, root = new_user("ann"), new_user("root", is_superuser=True, is_staff=True)
    boss, peer = (new_user(name, is_staff=True) for name in ("boss", "peer"))

    def given(user: User, by: User) -> list[Role]:
        return assignable(user, role_of(fresh(user)), by=by)

    assert given(ann, boss) == [Role.OWNER, Role.VIEWER]
    assert given(ann, root) == given(boss, root) == list(Role)
    assert given(boss, boss) == given(root, root) == given(peer, boss) == given(root, boss) == []


def test_a_role_is_checked_as_it_is_now(new_user: NewUser) -> None:
    boss, ann = new_user("boss", is_staff=True), new_user("ann")
    seen_before = fresh(ann)
    set_role(ann, Role.OPERATOR)
    assert not change_role(seen_before, Role.VIEWER, by=boss)
    assert both(ann) == {Role.OPERATOR}
    ann.delete()
    assert not change_role(seen_before, Role.VIEWER, by=boss)
    assert not set_role(seen_before, Role.VIEWER)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "queues/default/pause/"), ("POST", "queues/default/resume/")]
)
def test_a_viewer_reads_the_queues_over_the_api_and_changes_none(
    new_user: NewUser, as_user: Callable[[User], ApiClient], method: str, path: str
) -> None:
    viewer = new_user("viewer")
    api = as_user(viewer)
    assert api.get("queues/").status_code == 403
    set_role(viewer, Role.VIEWER)
    assert api.get("queues/").status_code == 200
    AuditEntry.objects.all().delete()
    assert api.ask(method, path).status_code == 403
    assert not AuditEntry.objects.exists()
    set_role(viewer, Role.OPERATOR)
    assert api.ask(method, path).status_code == 200


def test_a_viewer_scrapes_the_metrics(
    new_user: NewUser, as_user: Callable[[User], ApiClient]
) -> None:
    viewer = new_user("viewer")
    client = as_user(viewer)

    def status() -> int:
        headers = {"Authorization": f"Bearer {client.access}", "X-Forwarded-For": "203.0.113.1"}
        return int(client.client.get("/metrics", headers=headers).status_code)

    assert status() == 403
    set_role(viewer, Role.VIEWER)
    assert status() == 200


def test_the_command_shows_and_gives_roles(new_user: NewUser) -> None:
    new_user("ann")
    new_user("boss", is_staff=True)
    new_user("root", is_superuser=True, is_staff=True)
    assert staff.give("ANN", None) == "ann: owner"
    assert staff.give("ann", Role.VIEWER) == "ann: viewer"
    User.objects.filter(username="boss").update(is_active=False)
    lines = ["ann: viewer", "boss: operator, suspended", "root: superuser"]
    assert list(staff.all_staff()) == lines
    assert Group.objects.get(name=VIEWERS).user_set.count() == 1
    line = AuditEntry.objects.get()
    assert (line.by_name, line.target, line.details["reason"]) == ("", "ann", "taskyard staff")
    for name, role in (("nobody", None), ("root", Role.OWNER)):
        with pytest.raises(ConfigurationError):
            staff.give(name, role)
