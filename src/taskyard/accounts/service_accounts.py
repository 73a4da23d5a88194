"""Service accounts: users for programs, which have keys and no password."""

from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext_lazy as _

from taskyard.accounts import usernames
from taskyard.accounts.models import ApiKey, OidcIdentity, ServiceAccount, User
from taskyard.core import audit, lifecycle, roles

# The name of a subject's user begins with that of its account, and must fit.
LONGEST = 30


def create(name: str, *, by_id: int | None = None) -> ServiceAccount:
    """Make a service account with a quota of its own. Raises ValidationError.

    Without ``by_id``, on the server, an owner without a password, key and identity who has never
    logged in becomes one, if such a user has the name: so an import's accounts are brought back.
    """
    name = usernames.normalize(name)
    _check(name)
    try:
        with transaction.atomic():
            user = User.objects.filter(username_key=usernames.name_key(name)).first()
            if user is not None and by_id is not None:
                raise _taken()
            user = _without_password(user) if user is not None else _new_user(name)
            account = ServiceAccount.objects.create(user=user)
            lifecycle.open_quota(user.pk)
            name_of_maker = "" if by_id is None else audit.name_of(by_id)
            audit.write("create_service_account", user.username, by_id=by_id, by_name=name_of_maker)
    except IntegrityError:  # another request has taken the name
        raise _taken() from None
    return account


def _check(name: str) -> None:
    usernames.check(name)
    if len(name) > LONGEST:
        raise ValidationError(
            _("At most %(max_length)s characters are allowed."),
            code="string_too_long",
            params={"max_length": LONGEST},
        )


def _new_user(name: str) -> User:
    user = User(username=name, password=make_password(None))
    user.save(force_insert=True)
    return user


def _without_password(user: User) -> User:
    """The user, locked. Raises ValidationError if a person may use it."""
    user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    is_free = not (
        user.has_usable_password()
        or user.last_login
        or user.is_machine
        or roles.roles_of([user])[user.pk] is not roles.Role.OWNER
        or OidcIdentity.objects.filter(user=user).exists()
        or ApiKey.objects.filter(user=user).exists()
    )
    if not is_free:
        raise _taken()
    return user


def _taken() -> ValidationError:
    return ValidationError(_("This username is already taken."), code="username_taken")
