"""Register, log in and change passwords.

No password is hashed inside a transaction: a hash takes a tenth of a second, and on SQLite every
other writer would wait for the transaction.
"""

from collections.abc import Callable

from django.contrib.auth import authenticate
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import password_changed, validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from taskyard.accounts import invitations, rate_limit, usernames
from taskyard.accounts.errors import LoginRefused, RegistrationClosed
from taskyard.accounts.hashers import normalize
from taskyard.accounts.models import Invitation, User
from taskyard.accounts.oidc.configuration import require_passwords
from taskyard.accounts.validators import LONGEST_PASSWORD as LONGEST_PASSWORD
from taskyard.catalog.schema import FieldError, InvalidInput
from taskyard.core import audit, lifecycle
from taskyard.core.conf import conf


def register(*, username: str, password: str, address: str, invitation: str = "") -> User:
    """Create a user with a quota.

    Raises InvalidInput, Throttled, PasswordLoginOff, RegistrationClosed.

    Only attempts with a valid name and password count against the address. Without a valid
    invitation, if one is needed, a client learns nothing of which names are taken.
    """
    require_passwords()
    mode = conf().REGISTRATION
    if mode == "closed":
        raise RegistrationClosed
    invited = _invited(invitation) if mode == "invite" else None
    # Before the name is normalized, because one character can become eighteen.
    if field_errors := _field_errors("username", lambda: usernames.check_length(username)):
        raise InvalidInput(field_errors)
    user = User(username=usernames.normalize(username))
    field_errors = [
        *_field_errors("username", lambda: usernames.check(user.username)),
        *password_errors("password", password, user),
    ]
    if field_errors:
        raise InvalidInput(field_errors)
    rate_limit.count_registration(address)
    taken = FieldError(("username",), "username_taken", "This username is already taken.")
    if User.objects.filter(username_key=usernames.name_key(username)).exists():
        raise InvalidInput([taken])
    user.password = make_password(password)
    user.email = invited.email if invited else ""
    try:
        with transaction.atomic():
            user.save(force_insert=True)
            lifecycle.open_quota(user.id)
            if invited and not invitations.use(invitation, user):
                raise InvalidInput([invitations.INVALID])
            record(user, "register", address=address)
    except IntegrityError:
        raise InvalidInput([taken]) from None  # another request has registered the name
    return user


def log_in(*, username: str, password: str, address: str) -> User:
    """The user of this name and password. Raises LoginRefused, Throttled, PasswordLoginOff.

    A refused login takes as long as a successful one.
    """
    require_passwords()
    rate_limit.count_attempt(address)
    try:
        with rate_limit.counting_failures(LoginRefused, username=username, address=address):
            user = authenticate(username=username, password=password)
            if not isinstance(user, User):
                raise LoginRefused
    except LoginRefused:
        _record_failure(username, address)
        raise
    record(user, "log_in", address=address)
    return user


def change(user: User, *, old: str, new: str, address: str) -> None:
    """Set a new password, which revokes all older tokens.

    Raises InvalidInput, Throttled, PasswordLoginOff.
    """
    require_passwords()
    if field_errors := password_errors("new_password", new, user):
        raise InvalidInput(field_errors)
    rate_limit.count_attempt(address)
    message = "The old password is not right."
    wrong = FieldError(("old_password",), "password_incorrect", message)
    with rate_limit.counting_failures(InvalidInput, username=user.username, address=address):
        if not user.check_password(old):
            raise InvalidInput([wrong])
    # A reset since the old password was read stays.
    unchanged = User.objects.filter(pk=user.pk, password=user.password)
    user.password = make_password(new)
    with transaction.atomic():
        if not unchanged.update(password=user.password):
            raise InvalidInput([wrong])
        record(user, "change_password", address=address)
    password_changed(new, user)


def record(user: User, action: str, *, address: str) -> None:
    """Add an entry of the user's own deed to the audit log, with one statement."""
    audit.write(action, by_id=user.pk, by_name=user.username, address=address)


def _record_failure(username: str, address: str) -> None:
    """Add an entry of a failed log-in. The queries are the same whether or not there is a user."""
    known = User.objects.filter(username_key=usernames.name_key(username))
    name = known.values_list("username", flat=True).first()
    audit.record_failed_log_in(name or username, is_known=name is not None, address=address)


def replace(user: User, new: str) -> None:
    """Set a new password without the old one, for an operator. Raises InvalidInput."""
    if field_errors := password_errors("new_password", new, user):
        raise InvalidInput(field_errors)
    user.set_password(new)
    user.save(update_fields=["password"])
    audit.write("set_password", user.username)


def _invited(code: str) -> Invitation:
    """The invitation that this code opens. Raises InvalidInput."""
    if not code:
        raise InvalidInput([FieldError(("invitation",), "missing", "This field is required.")])
    invitation = invitations.find(code)
    if invitation is None:
        raise InvalidInput([invitations.INVALID])
    return invitation


def password_errors(field: str, password: str, user: User) -> list[FieldError]:
    """What the policy says against a password."""
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
