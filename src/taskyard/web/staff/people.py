"""Find users by name and by id, of any user model."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, QuerySet

from taskyard.web import project

NAME = get_user_model().USERNAME_FIELD
LONGEST_NAME: int | None = getattr(get_user_model()._meta.get_field(NAME), "max_length", None)


def by_name(name: str) -> Any:
    """The user of this name, or None."""
    try:
        return _manager().get_by_natural_key(name)
    except get_user_model().DoesNotExist:
        return None


def by_id(text: str) -> Any:
    """The user whose primary key is written so, or None."""
    try:
        return _manager().filter(pk=text).first()
    except (ValueError, ValidationError):
        return None


def beginning_with(name: str) -> Any:
    """A query of the people whose names begin so, without regard to case."""
    if not name:
        return persons()
    if project.has_accounts():
        from taskyard.accounts.usernames import name_key

        return persons().filter(username_key__startswith=name_key(name))
    return _manager().filter(**{f"{NAME}__istartswith": name})


def persons() -> Any:
    """A query of the users that are people: without service accounts and their subjects."""
    if not project.has_accounts():
        return _manager().all()
    from taskyard.accounts.models import ServiceAccount, Subject

    return _manager().exclude(
        Exists(Subject.objects.filter(pk=OuterRef("pk")))
        | Exists(ServiceAccount.objects.filter(pk=OuterRef("pk")))
    )


def in_order(users: QuerySet[Any], *, start: str) -> QuerySet[Any]:
    """Order users, those after ``start``: ours from the newest, others by name.

    Of another model nothing says who is new: its keys may be random.
    """
    if project.has_accounts():
        return (users.filter(pk__lt=start) if start else users).order_by("-pk")
    return (users.filter(**{f"{NAME}__gt": start}) if start else users).order_by(NAME)


def place_of(user: Any) -> str:
    """The ``start`` of the users after this one."""
    return str(user.pk) if project.has_accounts() else user.get_username()


def _manager() -> Any:
    return get_user_model()._default_manager
