"""Roles of users of any model: also of one without permissions, and of a project's own rules."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

from taskyard.core import roles
from taskyard.core.roles import Role, role_of, roles_of, sees_data
from tests.configured import configure
from tests.people import new_user


@dataclass
class Person:
    """A user of a project whose own rules give permissions."""

    permissions: set[str] = field(default_factory=set)
    is_staff: bool = False

    def has_perm(self, name: str) -> bool:
        return name in self.permissions


def test_a_user_is_an_owner_unless_something_else_is_said(db: None) -> None:
    user = new_user("ann")
    assert role_of(user) is Role.OWNER
    assert roles_of([user]) == {user.pk: Role.OWNER}
    # As a middleware of a project may set it, also without such a column.
    user.is_staff = True
    assert role_of(user) is Role.OPERATOR
    assert roles_of([user]) == {user.pk: Role.OPERATOR}
    assert roles_of([]) == {}


def test_who_has_not_signed_in_has_no_role(db: None, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert role_of(AnonymousUser()) is Role.OWNER
        assert role_of(object()) is Role.OWNER


@pytest.mark.parametrize(
    ("permissions", "is_staff", "role"),
    [
        (set(), False, Role.OWNER),
        (set(), True, Role.OPERATOR),
        ({roles.VIEW}, False, Role.VIEWER),
        ({roles.VIEW}, True, Role.VIEWER),
        ({roles.OPERATE}, False, Role.OPERATOR),
        ({roles.VIEW, roles.OPERATE}, False, Role.OPERATOR),
        ({"taskyard.view_task", "taskyard.delete_task"}, False, Role.OWNER),
    ],
)
def test_rules_of_a_project_decide(permissions: set[str], is_staff: bool, role: Role) -> None:
    assert role_of(Person(permissions, is_staff)) is role


@pytest.mark.parametrize("is_shown", [False, True])
def test_the_setting_says_whether_viewers_see_data(settings: Any, is_shown: bool) -> None:
    configure(settings, VIEWERS_SEE_DATA=is_shown)
    assert not sees_data(Person())
    assert sees_data(Person({roles.VIEW})) is is_shown
    assert sees_data(Person({roles.OPERATE}))


def test_links_cost_no_query_while_no_role_is_given(
    db: None, django_assert_max_num_queries: Any, django_assert_num_queries: Any
) -> None:
    roles.forget_links()
    user = new_user("ann")
    with django_assert_max_num_queries(2):
        assert not roles.sees_links(user)
    with django_assert_num_queries(0):
        assert not roles.sees_links(user)
        assert roles.sees_links(Person(is_staff=True))
    roles.forget_links()
