"""What a username may be, and when two of them are the same."""

import unicodedata

from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

LONGEST = 150
# Letters to Unicode, nothing to the eye: "a\u3164" would pass for "a". NFKC makes two of the four.
INVISIBLE_LETTERS = frozenset("\u115f\u1160\u3164\uffa0")

_allowed = UnicodeUsernameValidator()


def normalize(username: str) -> str:
    return unicodedata.normalize("NFKC", username)


def name_key(username: str) -> str:
    """The same for names that a person would take for the same: by case or by compatible form."""
    return unicodedata.normalize("NFKC", normalize(username).casefold())


def check(username: str) -> None:
    """Raises ValidationError for a (normalized) name with anything but letters, digits, @.+-_"""
    check_length(username)
    _allowed(username)
    if INVISIBLE_LETTERS & frozenset(username):
        raise ValidationError(_allowed.message, code=_allowed.code)


def check_length(username: str) -> None:
    """Raises ValidationError for more characters than a name may have."""
    if len(username) > LONGEST:
        raise ValidationError(
            _("At most %(max_length)s characters are allowed."),
            code="string_too_long",
            params={"max_length": LONGEST},
        )
