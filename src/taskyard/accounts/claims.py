"""What a valid token says, before the database is asked whether it still holds.

It uses no model, so that it can be imported where the app is not installed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.functional import cached_property

if TYPE_CHECKING:
    from taskyard.accounts.models import User

# The value of WWW-Authenticate in a 401, as simplejwt writes it.
CHALLENGE = 'Bearer realm="api"'


@dataclass(frozen=True)
class TokenClaims:
    """The contents of a token that we signed.

    Only the database knows whether the user still exists, is active and has the same password.
    """

    user_id: int
    credential: str
    """The fingerprint of the user's password when the token was issued."""
    expires_at: float
    """In seconds of the epoch."""


class LazyUser:
    """The user that a valid token names, not looked up yet."""

    is_authenticated = True

    def __init__(self, claim: TokenClaims, load: "Callable[[TokenClaims], User]") -> None:
        self.claim = claim
        self._load = load

    # Django's property, because until Python 3.12 the standard library's holds one lock for the
    # whole class: if one user's look-up waits for the database, all others wait too.
    @cached_property
    def verified(self) -> "User":
        """The user, active and with the password of the token; one query. Raises TokenRefused."""
        return self._load(self.claim)
