"""How long to go on trying, and how long to wait in between."""

import random
import time

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0


class RetryBudget:
    """Starts with the first failure; ``pause`` is None when it is over."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends_at: float | None = None
        self._failures = 0

    def pause(self, retry_after: float | None = None) -> float | None:
        """Seconds until the next try. A pause that was asked for is kept, or not begun."""
        now = time.monotonic()
        if self._ends_at is None:
            self._ends_at = now + self._seconds
        left = self._ends_at - now
        # Jittered, so that clients that were cut off together do not come back together.
        backoff = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0**self._failures)
        wanted = retry_after or backoff * random.uniform(0.5, 1.0)  # noqa: S311
        self._failures += 1
        if left <= 0 or (retry_after is not None and retry_after > left):
            return None
        return min(wanted, left)
