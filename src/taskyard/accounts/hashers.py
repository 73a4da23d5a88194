"""Password hashes of the normalized text, so that every keyboard's form of a password fits.

NIST SP 800-63B asks for one form, NFKC, before the hash. A mark in the salt says of which hashes
this is true; a hash from before is compared with the text as it was typed, and replaced when its
owner logs in.
"""

import unicodedata
from typing import TYPE_CHECKING, Any

from django.contrib.auth.hashers import Argon2PasswordHasher, PBKDF2PasswordHasher

MARK = "NFKC"


def normalize(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


# Django's class is all that the checker knows of the classes that this one stands before.
if TYPE_CHECKING:
    Hasher = Argon2PasswordHasher
else:
    Hasher = object


class Normalizing(Hasher):
    def salt(self) -> str:
        return MARK + super().salt()

    def encode(self, password: str, salt: str, *costs: Any) -> str:
        is_marked = salt.startswith(MARK)
        return super().encode(normalize(password) if is_marked else password, salt, *costs)

    def verify(self, password: str, encoded: str) -> bool:
        normal = normalize(password)
        if self._is_marked(encoded):
            return super().verify(normal, encoded)
        return super().verify(password, encoded) or (
            normal != password and super().verify(normal, encoded)
        )

    def must_update(self, encoded: str) -> bool:
        return not self._is_marked(encoded) or super().must_update(encoded)

    def _is_marked(self, encoded: str) -> bool:
        return str(self.decode(encoded)["salt"]).startswith(MARK)


class Argon2(Normalizing, Argon2PasswordHasher):
    """One thread a hash, and OWASP's first choice of costs: what others notice is bounded."""

    time_cost = 1
    memory_cost = 47_104
    parallelism = 1


class PBKDF2(Normalizing, PBKDF2PasswordHasher):
    """For hashes that were made elsewhere."""
