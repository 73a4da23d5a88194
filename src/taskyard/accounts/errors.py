"""The errors of accounts. Each has a code; the API maps it to an HTTP status."""

from taskyard.core.errors import Rejected


class TokenRefused(Rejected):
    """The token is invalid, expired or revoked."""

    code = "token_not_valid"


class LoginRefused(Rejected):
    """No active user has this name and password. The client does not learn which part is wrong."""

    code = "no_active_account"


class Throttled(Rejected):
    """Too many requests. The client may try again in ``retry_after`` seconds."""

    code = "throttled"

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after=retry_after)
        self.retry_after = retry_after
