"""Stores for a client's tokens.

A store has a lock because a rotating refresh token can be used only once: clients that share a
store renew it one at a time.
"""

import threading
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Issuer:
    """The provider of single sign-on that issued a pair of tokens, and who asked it."""

    token_endpoint: str
    client_id: str


@dataclass(frozen=True)
class Tokens:
    """A pair from `login`. Without ``refresh`` the client cannot renew ``access`` by itself.

    With an ``issuer`` it is renewed there, otherwise by the server.
    """

    access: str
    refresh: str | None = None
    issuer: Issuer | None = None

    def __repr__(self) -> str:
        return "Tokens(...)"  # keeps secrets out of logs


class TokenStore(Protocol):
    """Interface of a token store. A client polls ``try_lock``, which must not block, so that an
    asynchronous client does not block its event loop."""

    def load(self) -> Tokens | None: ...

    def save(self, tokens: Tokens | None) -> None: ...

    def try_lock(self) -> bool: ...

    def unlock(self) -> None: ...


class MemoryTokens:
    """Tokens kept in memory, shared by the threads of a process."""

    def __init__(self, tokens: Tokens | None = None) -> None:
        self._tokens = tokens
        self._lock = threading.Lock()

    def load(self) -> Tokens | None:
        return self._tokens

    def save(self, tokens: Tokens | None) -> None:
        self._tokens = tokens

    def try_lock(self) -> bool:
        return self._lock.acquire(blocking=False)

    def unlock(self) -> None:
        self._lock.release()
