"""Validate usernames, and compare them."""

import unicodedata

from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

LONGEST = 150
# Between the name of a service account and that of its subject. No person can register it.
SEPARATOR = "/"
# Unicode classifies these as letters, but they are invisible: "a\u3164" looks like "a".
INVISIBLE_LETTERS = frozenset("\u115f\u1160\u3164\uffa0")

_allowed = UnicodeUsernameValidator()


def normalize(username: str) -> str:
    return unicodedata.normalize("NFKC", username)


def name_key(username: str) -> str:
    """A key that is equal for names which differ only in case or in compatible characters."""
    return unicodedata.normalize("NFKC", normalize(username).casefold())


def check(username: str) -> None:
    """Raise ValidationError unless a normalized name has only letters, digits and @.+-_"""
    check_length(username)
    _allowed(username)
    if INVISIBLE_LETTERS & frozenset(username):
        raise ValidationError(_allowed.message, code=_allowed.code)


def check_length(username: str) -> None:
    """Raise ValidationError for a name that is too long."""
    if len(username) > LONGEST:
        raise ValidationError(
            _("At most %(max_length)s characters are allowed."),
            code="string_too_long",
            params={"max_length": LONGEST},
        )
