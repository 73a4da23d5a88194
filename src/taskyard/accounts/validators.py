"""Our own validator of passwords, for Django's AUTH_PASSWORD_VALIDATORS."""

from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

LONGEST_PASSWORD = 128


class MaximumLengthValidator:
    """Refuses long passwords: the admin could set one, but every login would refuse it."""

    def validate(self, password: str, user: Any = None) -> None:
        if len(password) > LONGEST_PASSWORD:
            raise ValidationError(
                _("At most %(max_length)s characters are allowed."),
                code="string_too_long",
                params={"max_length": LONGEST_PASSWORD},
            )

    def get_help_text(self) -> str:
        return str(_("Your password can have at most %(max_length)s characters.")) % {
            "max_length": LONGEST_PASSWORD
        }
