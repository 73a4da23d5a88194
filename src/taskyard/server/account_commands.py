"""`taskyard invite` and `taskyard change-password`: the commands of an operator about accounts."""

import getpass
import sys
from collections.abc import Sequence

from django.utils import translation

from taskyard.accounts import invitations, mail_links, outbox, passwords, profile
from taskyard.accounts.errors import MailNotConfigured
from taskyard.accounts.models import ServiceAccount, Subject, User
from taskyard.catalog.schema import FieldError, InvalidInput
from taskyard.core import messages
from taskyard.core.conf import conf


def invite(*, days: int, email: str) -> int:
    """Print the link of a new invitation, and send it if there is an address; the exit code."""
    with translation.override("en"):
        if email and (field_error := profile.field_error_of("email", email)):
            return _refuse([field_error])
    made = invitations.make(days=days, email=email)
    try:
        page = mail_links.page(mail_links.REGISTER)
    except MailNotConfigured:
        print(made.code)
        _note("TASKYARD_PUBLIC_URL is not set, so this is the code without the link")
        return 0
    print(page.link(made.code))
    if conf().REGISTRATION != "invite":
        _note(f"TASKYARD_REGISTRATION is {conf().REGISTRATION}: invitations need the value invite")
    if not email:
        return 0
    if not mail_links.is_mail_configured():
        _note("no mail is configured: pass the link on yourself")
        return 0
    try:
        outbox.send(invitations.mail(made, page))
    except OSError as error:
        _note(f"the mail was not sent: {outbox.explain(error)}")
        return 1
    _note(f"sent to {email}")
    return 0


# Commands speak English, and the project's language is that of its pages and mails.
@translation.override("en")
def change_password(name: str) -> int:
    """Ask for a new password and set it; the exit code. All tokens and sessions end."""
    try:
        user = User.objects.get_by_natural_key(name)
    except User.DoesNotExist:
        _note("there is no such user")
        return 1
    if _has_keys_only(user):
        _note("a service account and its subjects have no password")
        return 1
    new = _ask()
    if new is None:
        _note("the two passwords differ")
        return 1
    try:
        passwords.replace(user, new)
    except InvalidInput as error:
        return _refuse(error.field_errors)
    _note(f"the password of {user.username} has been changed; older tokens and sessions have ended")
    return 0


def _has_keys_only(user: User) -> bool:
    """Whether the user is a service account or a subject of one."""
    return (
        ServiceAccount.objects.filter(pk=user.pk).exists()
        or Subject.objects.filter(pk=user.pk).exists()
    )


def _ask() -> str | None:
    """The new password, typed twice on a terminal, else the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    new = getpass.getpass("New password: ")
    return new if getpass.getpass("Again: ") == new else None


def _refuse(field_errors: Sequence[FieldError]) -> int:
    for field_error in field_errors:
        _note(messages.of_field_error(field_error))
    return 1


def _note(text: str) -> None:
    print(text, file=sys.stderr)
