"""The profile: what a user may say about themselves, and change. Nothing in Taskyard reads it."""

import unicodedata

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from taskyard.accounts.models import User
from taskyard.catalog.schema import FieldError, InvalidInput

LONGEST = {"email": 254, "first_name": 150, "last_name": 150}


def change(user: User, **changes: str) -> None:
    """Set some of the fields; an empty string clears one. Raises InvalidInput."""
    if field_errors := [
        field_error
        for field, value in changes.items()
        if (field_error := _field_error(field, value))
    ]:
        raise InvalidInput(field_errors)
    for field, value in changes.items():
        setattr(user, field, value)
    if changes:
        user.save(update_fields=list(changes))


def _field_error(field: str, value: str) -> FieldError | None:
    longest = LONGEST[field]
    if len(value) > longest:
        message = f"At most {longest} characters are allowed."
        return FieldError((field,), "string_too_long", message, {"max_length": longest})
    # Control and direction characters make a name show as another.
    if any(unicodedata.category(each) in ("Cc", "Cf") for each in value):
        return FieldError((field,), "invalid_characters", "Control characters are not allowed.")
    if field == "email" and value:
        try:
            validate_email(value)
        except ValidationError as error:
            return FieldError((field,), "invalid_email", str(error.messages[0]))
    return None
