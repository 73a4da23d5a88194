"""A document of the provider, kept in this process.

It is fresh for minutes; then the next reader has it fetched in the background. While the provider
is down, it serves for an hour.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import httpx

from taskyard.accounts.errors import SsoUnavailable
from taskyard.accounts.oidc.http import BadAnswer

logger = logging.getLogger(__name__)
FRESH_SECONDS, USABLE_SECONDS = 300.0, 3600.0
# Between two fetches, by all requests together; after a failure the next may come sooner.
PAUSE_SECONDS, PAUSE_AFTER_FAILURE_SECONDS = 10.0, 1.0
# How long a request waits for a fetch that another has begun, and how many may. The others are
# refused, so that a provider that hangs does not hold all threads.
WAIT_SECONDS, MOST_WAITING = 2.0, 2

Document = TypeVar("Document")


class Kept(Generic[Document]):
    """The document that ``fetch`` answers, one object while it is equal. For all threads."""

    def __init__(
        self,
        what: str,
        fetch: Callable[[], Document],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._fetch = fetch
        self._clock = clock
        self._document: Document | None = None
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._has_failed = False
        self._fetching = threading.Lock()
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)

    def recall(self) -> Document | None:
        """The document if it is kept and young enough, without any wait; None otherwise."""
        document, age = self._document, self._clock() - self._fetched_at
        if document is None or age >= USABLE_SECONDS:
            return None
        if age >= FRESH_SECONDS and self._may_try():
            threading.Thread(target=self._renew_in_background, daemon=True).start()
        return document

    def get(self, *, younger_than: float = USABLE_SECONDS) -> Document:
        """The document, fetched if need be. Raises SsoUnavailable.

        ``younger_than`` is in seconds.
        """
        document = self.recall()
        if document is not None and self._clock() - self._fetched_at < younger_than:
            return document
        return self._fetched()

    def renewed(self, *, pause: float = PAUSE_SECONDS) -> Document:
        """The document, fetched again unless that was done just now. Raises SsoUnavailable.

        ``pause`` is in seconds; a short one is for what a stranger cannot ask for.
        """
        return self._fetched(pause)

    def _may_try(self, pause: float = PAUSE_SECONDS) -> bool:
        if self._has_failed:
            pause = PAUSE_AFTER_FAILURE_SECONDS
        return self._clock() - self._tried_at >= pause

    def _fetched(self, pause: float = PAUSE_SECONDS) -> Document:
        began_at = self._clock()
        self._lock_within_bounds()
        try:
            if self._fetched_at < began_at and self._may_try(pause):
                self._renew()
            if self._has_failed or self._document is None:
                raise SsoUnavailable
            return self._document
        finally:
            self._fetching.release()

    def _lock_within_bounds(self) -> None:
        if self._fetching.acquire(blocking=False):
            return
        if not self._waiting.acquire(blocking=False):
            raise SsoUnavailable
        try:
            if not self._fetching.acquire(timeout=WAIT_SECONDS):
                raise SsoUnavailable
        finally:
            self._waiting.release()

    def _renew_in_background(self) -> None:
        if self._fetching.acquire(blocking=False):
            try:
                if self._may_try():
                    self._renew()
            finally:
                self._fetching.release()

    def _renew(self) -> None:
        """Fetch; only for who holds the lock."""
        self._tried_at = self._clock()
        try:
            document = self._fetch()
        except (BadAnswer, SsoUnavailable, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            self._has_failed = True
            logger.error(
                "single sign-on provider failed",
                extra={"what": self._what, "why": str(error) or type(error).__name__},
            )
            return
        if document != self._document:
            self._document = document
        self._has_failed = False
        self._fetched_at = self._clock()
