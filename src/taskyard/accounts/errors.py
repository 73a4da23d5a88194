"""Refusals of this room. They carry a code and know no HTTP."""

from taskyard.core.errors import Rejected


class TokenRefused(Rejected):
    """A token that is not, or no longer, good for what it was presented for."""

    code = "token_not_valid"


class LoginRefused(Rejected):
    """No active user has this name and this password; which of the three, nobody is told."""

    code = "no_active_account"


class Throttled(Rejected):
    """Too often; worth another try in ``retry_after`` seconds."""

    code = "throttled"

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after=retry_after)
        self.retry_after = retry_after
