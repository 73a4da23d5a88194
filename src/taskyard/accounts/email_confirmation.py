"""Confirm that a user reads the mail of an address. Only confirmed addresses receive resets.

The link of the mail is signed and holds the user and the address, so nothing is stored until the
address is confirmed. The page asks for the password: a stolen access token can set another address,
and could otherwise confirm it and then reset the password.
"""

from functools import partial

from django.core import signing
from django.db.models.functions import Now
from django.utils import translation
from django.utils.translation import gettext as _

from taskyard.accounts import mail_links, outbox, rate_limit
from taskyard.accounts.models import ConfirmedEmail, User
from taskyard.accounts.oidc.configuration import passwords_are_on
from taskyard.accounts.outbox import Mail
from taskyard.catalog.schema import FieldError, InvalidInput
from taskyard.core.types import LARGEST_ID

SALT = "taskyard.accounts.email"
VALID_SECONDS = 3 * 24 * 3600
LONGEST_CODE = 1000


def is_confirmed(user: User) -> bool:
    """Whether the user has confirmed the address of the profile; without one no query."""
    if not user.email:
        return False
    return ConfirmedEmail.objects.filter(pk=user.pk, email=user.email).exists()


def is_possible(user: User) -> bool:
    """Whether the user can confirm an address, which takes a mail and the own password."""
    return mail_links.is_mail_configured() and passwords_are_on() and user.has_usable_password()


def is_needed(user: User, email: str) -> bool:
    """Whether a change of the profile to this address sends a mail."""
    if not email or not is_possible(user):
        return False
    return email != user.email or not is_confirmed(user)


def send_link(user: User) -> None:
    """Send the link to the user's address. Raises MailBusy."""
    page = mail_links.page(mail_links.CONFIRM_EMAIL)
    link = page.link(signing.dumps([user.pk, user.email], salt=SALT))
    outbox.put(partial(_mails, user.username, user.email, link, translation.get_language()))


def confirm(code: str, *, password: str, address: str) -> User:
    """Confirm the address in the code. Raises InvalidInput, Throttled.

    Throttled like a login, because it checks a password.
    """
    user = _user_of(code)
    if user is None:
        message = "The link is not valid or no longer valid."
        raise InvalidInput([FieldError(("code",), "email_link_invalid", message)])
    rate_limit.count_attempt(address)
    with rate_limit.counting_failures(InvalidInput, username=user.username, address=address):
        if not user.check_password(password):
            message = "The password is not right."
            raise InvalidInput([FieldError(("password",), "password_wrong", message)])
    ConfirmedEmail.objects.update_or_create(
        user=user,
        defaults={
            "email": user.email,
            "email_key": user.email.lower(),
            "confirmed_at": Now(),
        },
    )
    return user


def _user_of(code: str) -> User | None:
    """The active user whose address is still that of the code."""
    if len(code) > LONGEST_CODE:
        return None
    try:
        user_id, email = signing.loads(code, salt=SALT, max_age=VALID_SECONDS)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    if not isinstance(user_id, int) or not 0 <= user_id <= LARGEST_ID or not email:
        return None
    return User.objects.filter(pk=user_id, email=email, is_active=True).first()


def _mails(username: str, email: str, link: str, language: str | None) -> list[Mail]:
    with translation.override(language):
        text = _(
            "A person, probably you, gave this address for the account %(username)s at Taskyard. "
            "Confirm it here:\n\n%(link)s\n\nThe link works for three days. If it was not you, "
            "ignore this mail."
        )
        subject = _("Taskyard: confirm your e-mail address")
        return [Mail(email, subject, text % {"username": username, "link": link})]
