"""Invitations: each lets one person register while TASKYARD_REGISTRATION is `invite`.

An invitation that is used, expired, revoked or unknown gets the same answer.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext as _

from taskyard.accounts.mail_links import Page
from taskyard.accounts.models import Invitation, User
from taskyard.accounts.outbox import Mail
from taskyard.catalog.schema import FieldError
from taskyard.core import audit

DEFAULT_DAYS, MOST_DAYS = 7, 365
INVALID = FieldError(
    ("invitation",), "invitation_invalid", "The invitation is not valid or no longer valid."
)


@dataclass(frozen=True)
class Made:
    """A new invitation and its code, which is not stored."""

    invitation: Invitation
    code: str


def make(*, days: int = DEFAULT_DAYS, email: str = "", by: User | None = None) -> Made:
    """Make an invitation that is valid for so many days, from 1 to ``MOST_DAYS``."""
    code = secrets.token_urlsafe(32)
    with transaction.atomic():
        invitation = Invitation.objects.create(
            code_hash=_hash(code),
            email=email,
            created_by=by,
            expires_at=timezone.now() + timedelta(days=days),
        )
        audit.write(
            "make_invitation",
            f"{invitation.pk}",
            by_id=by and by.pk,
            by_name=by.username if by else "",
            days=days,
        )
    return Made(invitation, code)


def revoke(invitation_id: int, *, by: User) -> bool:
    """End an invitation; False if it is used or revoked already, or does not exist."""
    with transaction.atomic():
        unused = Invitation.objects.filter(pk=invitation_id, used_at=None, revoked_at=None)
        revoked = unused.update(revoked_at=Now()) == 1
        if revoked:
            audit.record(by.pk, "revoke_invitation", f"{invitation_id}")
    return revoked


def find(code: str) -> Invitation | None:
    """The invitation that this code opens, or None."""
    return _valid(code).first()


def use(code: str, user: User) -> bool:
    """Use an invitation for a user who has just been created, in the same transaction.

    False if it is not valid any more: of several requests at once, one gets True.
    """
    return _valid(code).update(used_at=Now(), used_by=user) == 1


def mail(made: Made, page: Page) -> Mail:
    """The mail with the link, in the current language."""
    text = _(
        "You are invited to register with Taskyard:\n\n%(link)s\n\n"
        "The link works once, and until %(until)s."
    )
    until = f"{made.invitation.expires_at:%Y-%m-%d %H:%M} UTC"
    return Mail(
        to=made.invitation.email,
        subject=_("Taskyard: your invitation"),
        text=text % {"link": page.link(made.code), "until": until},
    )


def _valid(code: str) -> QuerySet[Invitation]:
    return Invitation.objects.filter(
        code_hash=_hash(code), used_at=None, revoked_at=None, expires_at__gt=Now()
    )


def _hash(code: str) -> str:
    """A hash without a salt is enough for 256 random bits."""
    return hashlib.sha256(code.encode("utf-8", "replace")).hexdigest()
