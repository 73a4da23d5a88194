"""Password hashers that normalize passwords, because keyboards encode some characters differently.

NIST SP 800-63B recommends NFKC before the hash. A mark in the salt identifies hashes of normalized
passwords. A hash without the mark is compared with the password as typed, and with the normalized
one; it is replaced when its user logs in.
"""

import unicodedata
from typing import TYPE_CHECKING, Any

from django.contrib.auth.hashers import Argon2PasswordHasher, PBKDF2PasswordHasher

MARK = "NFKC"


def normalize(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


# The mixin below calls methods of Django's hashers, so mypy sees it as a subclass of one.
if TYPE_CHECKING:
    Hasher = Argon2PasswordHasher
else:
    Hasher = object


class Normalizing(Hasher):
    """A mixin for Django's hashers."""

    def salt(self) -> str:
        return MARK + super().salt()

    def encode(self, password: str, salt: str, *costs: Any) -> str:
        is_marked = salt.startswith(MARK)
        return super().encode(normalize(password) if is_marked else password, salt, *costs)

    def verify(self, password: str, encoded: str) -> bool:
        normalized = normalize(password)
        if self._is_marked(encoded):
            return super().verify(normalized, encoded)
        return super().verify(password, encoded) or (
            normalized != password and super().verify(normalized, encoded)
        )

    def must_update(self, encoded: str) -> bool:
        return not self._is_marked(encoded) or super().must_update(encoded)

    def _is_marked(self, encoded: str) -> bool:
        return str(self.decode(encoded)["salt"]).startswith(MARK)


class Argon2(Normalizing, Argon2PasswordHasher):
    """Argon2id with OWASP's first choice of costs, and one thread for each hash."""

    time_cost = 1
    memory_cost = 47_104
    parallelism = 1


class PBKDF2(Normalizing, PBKDF2PasswordHasher):
    """For hashes that were imported from another project."""
