"""The profile: the fields that users may change themselves.

Taskyard only stores them. If mail is configured, it asks the owner of a new e-mail address to
confirm it.
"""

import unicodedata

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from taskyard.accounts import email_confirmation, outbox, rate_limit
from taskyard.accounts.models import User
from taskyard.catalog.schema import FieldError, InvalidInput

LONGEST = {"email": 254, "first_name": 150, "last_name": 150}


def change(user: User, *, address: str, **changes: str) -> None:
    """Change some fields; an empty string clears a field. Raises InvalidInput, Throttled, MailBusy.

    An e-mail address that is not confirmed yet gets a mail, also if it is the same as before.
    """
    if field_errors := [
        field_error
        for field, value in changes.items()
        if (field_error := field_error_of(field, value))
    ]:
        raise InvalidInput(field_errors)
    sends_mail = email_confirmation.is_needed(user, changes.get("email", ""))
    if sends_mail:
        outbox.require_room()
        rate_limit.count_mail(changes["email"], address)
    for field, value in changes.items():
        setattr(user, field, value)
    if changes:
        user.save(update_fields=list(changes))
    if sends_mail:

        def send_link() -> None:
            email_confirmation.send_link(user)

        # Django logs a failure with the name of the function, which a partial does not have.
        transaction.on_commit(send_link, robust=True)


def field_error_of(field: str, value: str) -> FieldError | None:
    """What is wrong with the value of a field, or None."""
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
