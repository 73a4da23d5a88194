"""Subjects: the customers on whose behalf a service account submits.

A subject is a user of its own, so that everything that belongs to an owner works for it: quota,
files, idempotency keys, streams. Its user is made when the account first names it.
"""

import hashlib
import re
import secrets

from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from taskyard.accounts.errors import (
    OnBehalfRefused,
    SubjectInvalid,
    SubjectSuspended,
    TooManySubjects,
)
from taskyard.accounts.models import ServiceAccount, Subject, User
from taskyard.accounts.usernames import LONGEST, SEPARATOR, name_key
from taskyard.core import lifecycle
from taskyard.core.conf import conf

# Usable in a header and in a path. A comma would join two headers.
NAME = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._:@+=~|-]{1,100}")
LONGEST_WITH_SUFFIX = LONGEST - 17
MOST_REMEMBERED = 100_000

# The user of a subject by account and name, which never change. ``find`` fills it. The reader lets
# the database check the answer, because another process may have deleted the subject.
_remembered: dict[tuple[int, str], int] = {}


def check_name(name: str) -> str:
    """The name. Raises SubjectInvalid."""
    if not NAME.fullmatch(name):
        raise SubjectInvalid
    return name


def remembered(account_id: int, name: str) -> int | None:
    """The id of the subject's user if this process has seen it. It may be deleted since."""
    return _remembered.get((account_id, name))


def find_or_create(account_id: int, name: str) -> User:
    """The active user of a subject, made if there is none.

    Raises OnBehalfRefused unless the id is that of a service account, SubjectSuspended,
    TooManySubjects.
    """
    user = find(account_id, name) or _create(account_id, name)
    if not user.is_active:
        raise SubjectSuspended
    return user


def find_active(account_id: int, name: str) -> int | None:
    """The id of an active subject's user; None if there is no subject of this name.

    Raises SubjectInvalid, SubjectSuspended, OnBehalfRefused unless the account is one.
    """
    user = find(account_id, check_name(name))
    if user is None:
        if not ServiceAccount.objects.filter(pk=account_id).exists():
            raise OnBehalfRefused
        return None
    if not user.is_active:
        raise SubjectSuspended
    return user.pk


def find(account_id: int, name: str) -> User | None:
    """The user of a subject; None if there is none. One query."""
    of_account = Subject.objects.filter(account_id=account_id, name=name)
    subject = of_account.select_related("user").first()
    if subject is None:
        return None
    if len(_remembered) >= MOST_REMEMBERED:
        _remembered.clear()
    _remembered[account_id, name] = subject.user_id
    return subject.user


def of_active_account() -> Q:
    """Of tasks: the owner is no subject, or a subject of an account that is active."""
    suspended = Subject.objects.filter(user=OuterRef("owner"), account__user__is_active=False)
    return Q(~Exists(suspended))


def username(account_name: str, name: str) -> str:
    """The name of a subject's user; no person can register such a name.

    Usernames are compared without regard to case, names of subjects are not: a name with capitals
    gets a suffix.
    """
    plain = f"{account_name}{SEPARATOR}{name}"
    if name_key(name) == name:
        return plain
    return f"{plain}{SEPARATOR}{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _create(account_id: int, name: str) -> User:
    with transaction.atomic():
        # One at a time for each account: the others find what the first has made.
        account = (
            ServiceAccount.objects.select_for_update(no_key=True, of=("self",))
            .select_related("user")
            .filter(pk=account_id)
            .first()
        )
        if account is None:
            raise OnBehalfRefused
        if (made := find(account_id, name)) is not None:
            return made
        _check_number(account)
        user = _user_named(username(account.user.username, name))
        Subject.objects.create(user=user, account=account, name=name)
        lifecycle.open_quota(user.pk)
        account.made += 1
        account.save(update_fields=["made"])
    return user


def _check_number(account: ServiceAccount) -> None:
    """Raise TooManySubjects if the account has as many as allowed.

    The counter does not know of deletions, so it is corrected before it refuses.
    """
    limit = conf().SUBJECTS_PER_ACCOUNT
    if account.made >= limit:
        account.made = account.subjects.count()
    if account.made >= limit:
        raise TooManySubjects(limit=limit)


def _user_named(name: str) -> User:
    """A new user without a password; or that of an import, which has lost its subject."""
    user = User.objects.filter(username_key=name_key(name)).first()
    if user is not None and not user.has_usable_password() and not _is_taken(user):
        return user
    if user is not None:  # an account was renamed, and another has its old name
        name = f"{name[:LONGEST_WITH_SUFFIX]}{SEPARATOR}{secrets.token_hex(8)}"
    user = User(username=name, password=make_password(None))
    user.save(force_insert=True)
    return user


def _is_taken(user: User) -> bool:
    return Subject.objects.filter(pk=user.pk).exists()
