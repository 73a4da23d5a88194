"""Register, log in and change passwords.

No password is hashed inside a transaction: a hash takes a tenth of a second, and on SQLite every
other writer would wait for the transaction.
"""

from collections.abc import Callable

from django.contrib.auth import authenticate
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from taskyard.accounts import rate_limit, usernames
from taskyard.accounts.errors import LoginRefused
from taskyard.accounts.hashers import normalize
from taskyard.accounts.models import User
from taskyard.accounts.validators import LONGEST_PASSWORD as LONGEST_PASSWORD
from taskyard.catalog.schema import FieldError, InvalidInput
from taskyard.core import lifecycle


def register(*, username: str, password: str, address: str) -> User:
    """Create a user with a quota. Raises InvalidInput, Throttled.

    Only attempts with a valid name and password count against the address.
    """
    # Before the name is normalized, because one character can become eighteen.
    if field_errors := _field_errors("username", lambda: usernames.check_length(username)):
        raise InvalidInput(field_errors)
    user = User(username=usernames.normalize(username))
    field_errors = [
        *_field_errors("username", lambda: usernames.check(user.username)),
        *_password_errors("password", password, user),
    ]
    if field_errors:
        raise InvalidInput(field_errors)
    rate_limit.count_registration(address)
    taken = FieldError(("username",), "username_taken", "This username is already taken.")
    if User.objects.filter(username_key=usernames.name_key(username)).exists():
        raise InvalidInput([taken])
    user.password = make_password(password)
    try:
        with transaction.atomic():
            user.save(force_insert=True)
            lifecycle.open_quota(user.id)
    except IntegrityError:
        raise InvalidInput([taken]) from None  # another request has registered the name
    return user


def log_in(*, username: str, password: str, address: str) -> User:
    """The user of this name and password. Raises LoginRefused, Throttled.

    A refused login takes as long as a successful one.
    """
    rate_limit.count_attempt(address)
    with rate_limit.counting_failures(LoginRefused, username=username, address=address):
        user = authenticate(username=username, password=password)
        if not isinstance(user, User):
            raise LoginRefused
    return user


def change(user: User, *, old: str, new: str, address: str) -> None:
    """Set a new password, which revokes all older tokens. Raises InvalidInput, Throttled."""
    if field_errors := _password_errors("new_password", new, user):
        raise InvalidInput(field_errors)
    rate_limit.count_attempt(address)
    with rate_limit.counting_failures(InvalidInput, username=user.username, address=address):
        if not user.check_password(old):
            message = "The old password is not right."
            raise InvalidInput([FieldError(("old_password",), "password_incorrect", message)])
    user.set_password(new)
    user.save(update_fields=["password"])


def _password_errors(field: str, password: str, user: User) -> list[FieldError]:
    # Before the validators and the hash, which take longer for a longer password.
    if len(password) > LONGEST_PASSWORD:
        message = f"At most {LONGEST_PASSWORD} characters are allowed."
        context = {"max_length": LONGEST_PASSWORD}
        return [FieldError((field,), "string_too_long", message, context)]
    return _field_errors(field, lambda: validate_password(normalize(password), user))


def _field_errors(field: str, check: Callable[[], None]) -> list[FieldError]:
    try:
        check()
    except ValidationError as error:
        return [
            FieldError((field,), item.code or "invalid", str(message))
            for item in error.error_list
            for message in item.messages
        ]
    return []
