"""Where a client keeps its tokens. One renews them at a time: a rotating token is good once."""

import threading
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Tokens:
    """A pair from `login`. Without ``refresh`` the client cannot renew ``access`` by itself."""

    access: str
    refresh: str | None = None

    def __repr__(self) -> str:
        return "Tokens(...)"  # secrets stay out of logs


class TokenStore(Protocol):
    """What a client asks of a place for tokens. The lock is never waited for: a client that does
    not get it comes again, so that neither a thread nor an event loop is held up."""

    def load(self) -> Tokens | None: ...

    def save(self, tokens: Tokens | None) -> None: ...

    def try_lock(self) -> bool: ...

    def unlock(self) -> None: ...


class MemoryTokens:
    """Tokens of this process."""

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
