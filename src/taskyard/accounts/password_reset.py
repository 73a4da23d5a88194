"""Reset a forgotten password by a link in a mail, with Django's own tokens.

A token is valid for an hour and once: it holds a hash of the password, of the address and of the
last sign-in. The answer to a request is the same for every address, and takes the same time: only
the thread that sends mails (``accounts.outbox``) looks the address up.
"""

from collections import defaultdict
from functools import partial

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import password_changed
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db.models import F
from django.utils import translation
from django.utils.translation import gettext as _

from taskyard.accounts import mail_links, outbox, passwords, profile, rate_limit
from taskyard.accounts.mail_links import Page
from taskyard.accounts.models import ConfirmedEmail, User
from taskyard.accounts.oidc.configuration import require_passwords
from taskyard.accounts.outbox import Mail
from taskyard.catalog.schema import FieldError, InvalidInput
from taskyard.core.types import LARGEST_ID

# Of one address, the newest.
MOST_USERS = 10
LONGEST_CODE = 200

generator = PasswordResetTokenGenerator()


def request(email: str, *, address: str) -> None:
    """Send a link to each user who has confirmed this address.

    Raises MailNotConfigured, InvalidInput for what is no address, Throttled, MailBusy.
    """
    require_passwords()
    mail_links.require_mail()
    _check(email)
    rate_limit.count_mail(email, address)
    page = mail_links.page(mail_links.NEW_PASSWORD)
    outbox.put(partial(_mails, email, page, translation.get_language()))


def confirm(code: str, new: str, *, address: str) -> User:
    """Set a new password, which revokes all tokens and sessions of the user.

    Raises MailNotConfigured, InvalidInput, Throttled.
    """
    require_passwords()
    mail_links.require_mail()
    invalid = FieldError(
        ("token",), "reset_token_invalid", "The link is not valid or no longer valid."
    )
    user = _user_of(code)
    if user is None:
        raise InvalidInput([invalid])
    if field_errors := passwords.password_errors("new_password", new, user):
        raise InvalidInput(field_errors)
    rate_limit.count_attempt(address)
    # Of several requests at once one finds the old password, and the others a token that is used.
    unchanged = User.objects.filter(pk=user.pk, password=user.password, is_active=True)
    user.password = make_password(new)
    if not unchanged.update(password=user.password):
        raise InvalidInput([invalid])
    password_changed(new, user)
    passwords.record(user, "reset_password", address=address)
    return user


def _check(email: str) -> None:
    if not email:
        raise InvalidInput([FieldError(("email",), "missing", "This field is required.")])
    if field_error := profile.field_error_of("email", email):
        raise InvalidInput([field_error])


def _user_of(code: str) -> User | None:
    """The user of a valid code, which is an id, a dot and Django's token."""
    user_id, _dot, token = code[:LONGEST_CODE].partition(".")
    if not (user_id.isascii() and user_id.isdigit() and len(user_id) <= 19):
        return None
    if int(user_id) > LARGEST_ID:
        return None
    user = User.objects.filter(pk=int(user_id), is_active=True).first()
    return user if generator.check_token(user, token) else None


def _mails(email: str, page: Page, language: str | None) -> list[Mail]:
    """A mail for each spelling of the address that a user has confirmed, to just that spelling."""
    confirmed = ConfirmedEmail.objects.filter(
        email_key=email.lower(), user__is_active=True, user__email=F("email")
    )
    users: dict[str, list[User]] = defaultdict(list)
    for row in confirmed.select_related("user").order_by("-user_id")[:MOST_USERS]:
        if row.user.has_usable_password():
            users[row.email].append(row.user)
    with translation.override(language):
        return [_mail(to, users_of_it, page) for to, users_of_it in users.items()]


def _mail(to: str, users: list[User], page: Page) -> Mail:
    links = (f"{user.username}:\n{page.link(_code(user))}" for user in users)
    text = _(
        "A person, probably you, asked for a new password at Taskyard. Set it here:\n\n"
        "%(links)s\n\nThe link works once, and for an hour. If it was not you, ignore this mail."
    )
    return Mail(to, _("Taskyard: a new password"), text % {"links": "\n\n".join(links)})


def _code(user: User) -> str:
    return f"{user.pk}.{generator.make_token(user)}"
