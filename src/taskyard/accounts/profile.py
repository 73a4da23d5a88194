"""The profile: the fields that users may change themselves. Taskyard only stores them."""

import unicodedata

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from taskyard.accounts.models import User
from taskyard.catalog.schema import FieldError, InvalidInput

LONGEST = {"email": 254, "first_name": 150, "last_name": 150}


def change(user: User, **changes: str) -> None:
    """Change some fields; an empty string clears a field. Raises InvalidInput."""
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
    # With control and direction characters a name could look like another one.
    if any(unicodedata.category(character) in ("Cc", "Cf") for character in value):
        return FieldError((field,), "invalid_characters", "Control characters are not allowed.")
    if field == "email" and value:
        try:
            validate_email(value)
        except ValidationError as error:
            return FieldError((field,), "invalid_email", str(error.messages[0]))
    return None
