"""What a valid token or API key says, before the database is asked whether it still holds.

It uses no model, so that it can be imported where the app is not installed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.functional import cached_property

from taskyard.accounts import proofs
from taskyard.core.proofs import Proof

if TYPE_CHECKING:
    from taskyard.accounts.models import User

# What the tokens of subjects begin with (``accounts/subject_tokens.py``).
SUBJECT_MARK = "tyb_"
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

    @property
    def proof(self) -> Proof:
        return proofs.of_password(self.credential)


@dataclass(frozen=True)
class KeyClaims:
    """What an API key may do; none of it ever changes.

    Only the database knows whether the key still exists and has not expired, and whether its user
    is active.
    """

    user_id: int
    key_id: int
    digest: str
    """The SHA-256 of the key."""
    scopes: frozenset[str]
    task_types: frozenset[str] | None
    """The names of the task types that it may submit; None for all."""
    expires_at: float
    """In seconds of the epoch; infinite for a key without an expiry."""
    account_id: int | None = None
    """The service account, if ``user_id`` is that of a subject of it."""
    subject: str = ""
    """The name of that subject."""
    is_subject_token: bool = False
    """Whether it is not the key itself, but a token that the account made for the subject."""

    @property
    def proof(self) -> Proof:
        if self.account_id is None:
            return proofs.of_key(self.digest)
        return proofs.of_subject(self.digest, self.subject)


Claims = TokenClaims | KeyClaims


class LazyUser:
    """The user of a valid token or of an API key, not looked up yet."""

    is_authenticated = True

    def __init__(self, claim: Claims, load: "Callable[[Any], User]") -> None:
        self.claim = claim
        self._load = load

    # Django's property, because until Python 3.12 the standard library's holds one lock for the
    # whole class: if one user's look-up waits for the database, all others wait too.
    @cached_property
    def verified(self) -> "User":
        """The active user, if the token or key is still good; one query. Raises TokenRefused."""
        return self._load(self.claim)


@dataclass(frozen=True)
class IssuerClaims:
    """What a token of the single sign-on's issuer says about a person.

    Only the database knows which user that is, and whether the user is active.
    """

    issuer: str
    subject: str
    expires_at: float
    """In seconds of the epoch."""
    role: str | None
    """The role that the person's groups give, empty for none; None if no groups are named."""
    username: str
    """As the issuer writes it; this and what follows may be empty."""
    email: str
    first_name: str
    last_name: str


class IssuerUser:
    """The user of a person whom the issuer's token names, not looked up yet."""

    is_authenticated = True

    def __init__(self, claim: IssuerClaims, load: "Callable[[IssuerClaims], User]") -> None:
        self.claim = claim
        self._load = load

    @cached_property
    def verified(self) -> "User":
        """The user, active; one query. Raises TokenRefused."""
        return self._load(self.claim)
