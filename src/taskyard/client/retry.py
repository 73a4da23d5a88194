"""When to retry a failed request, and when to give up."""

import random
import time

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0


class RetryBudget:
    """Allows retries of one request for some seconds after its first failure."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends_at: float | None = None
        self._failures = 0

    def pause(self, retry_after: float | None = None) -> float | None:
        """Seconds to sleep before the next try; None if the client must give up.

        ``retry_after`` is what the server asked for: if the budget is shorter, give up now.
        """
        now = time.monotonic()
        if self._ends_at is None:
            self._ends_at = now + self._seconds
        left = self._ends_at - now
        # Jitter: clients that lost the server together must not return at the same moment.
        backoff = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0**self._failures)
        wanted = retry_after or backoff * random.uniform(0.5, 1.0)  # noqa: S311
        self._failures += 1
        if left <= 0 or (retry_after is not None and retry_after > left):
            return None
        return min(wanted, left)
