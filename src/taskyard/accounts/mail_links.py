"""Addresses of pages with a code behind the `#`.

A browser sends nothing behind the `#`, so the code is in no log of a server or a proxy and in no
`Referer`. A script of the page moves it into a field of the form.
"""

from dataclasses import dataclass

from django.apps import apps
from django.urls import reverse

from taskyard.accounts.errors import MailNotConfigured
from taskyard.core.conf import conf

REGISTER = "taskyard_web:register"
NEW_PASSWORD = "taskyard_web:new-password"  # noqa: S105
CONFIRM_EMAIL = "taskyard_web:confirm-email"


@dataclass(frozen=True)
class Page:
    """The whole address of a page."""

    address: str

    def link(self, code: str) -> str:
        return f"{self.address}#{code}"


def page(name: str, *, origin: str | None = None) -> Page:
    """A page at TASKYARD_PUBLIC_URL, or else at ``origin``; never at the host of a request.

    Raises MailNotConfigured if neither is known.
    """
    start = conf().PUBLIC_URL or origin
    if start is None:
        raise MailNotConfigured
    return Page(start + reverse(name))


def is_mail_configured() -> bool:
    """Whether mails can be sent: each has a link to a page, which needs TASKYARD_PUBLIC_URL."""
    return (
        conf().EMAIL_FROM is not None
        and conf().PUBLIC_URL is not None
        and apps.is_installed("taskyard.web")
    )


def require_mail() -> None:
    """Raises MailNotConfigured."""
    if not is_mail_configured():
        raise MailNotConfigured
