"""Why a submit is refused: too many active tasks, too many bytes, or too fast.

All three are checked and counted in the statement that takes the place, so that submits at the same
moment cannot exceed them, and no further statement is needed.
"""

import math
from functools import cache
from typing import Any

from django.db.models.functions import Now

from taskyard.core.conf import conf
from taskyard.core.errors import (
    ActiveLimitExceeded,
    BytesExceeded,
    QuotaExceeded,
    SubmitRateExceeded,
)
from taskyard.core.models import Quota
from taskyard.core.rates import parse_rate
from taskyard.core.types import UserId

# What a task's row and its places in the indexes weigh, and a small result.
ROW_BYTES = 1024
# Between the statement and the question why it accepted nothing, the database's clock goes on.
SINCE_SECONDS = 1.0


def size_of_each(rows: str, count: int) -> int:
    """What each task of a submit counts: an equal share of what they are together."""
    return len(rows.encode()) // count + ROW_BYTES


def bounds() -> dict[str, Any]:
    """The parameters of the statement."""
    interval, burst = _spacing(conf().SUBMIT_RATE)
    return {"budget": conf().BYTES_PER_USER, "interval": interval, "burst": burst}


def refusal(owner_id: UserId, params: dict[str, Any]) -> QuotaExceeded:
    """Why the statement with these parameters accepted nothing."""
    quota = Quota.objects.annotate(now=Now()).get(user_id=owner_id)
    limit = params["limit"] if quota.active_limit is None else quota.active_limit
    if quota.active + params["count"] > limit:
        return ActiveLimitExceeded(limit)
    if quota.bytes + params["count"] * params["size"] > params["budget"]:
        return BytesExceeded(limit=params["budget"])
    ahead = max(quota.rate_at - quota.now.timestamp(), 0) + params["count"] * params["interval"]
    if ahead > params["burst"] - SINCE_SECONDS:
        wait = max(1, math.ceil(ahead - params["burst"]))
        return SubmitRateExceeded(rate=str(conf().SUBMIT_RATE), retry_after=wait)
    # The quota has changed since the statement: a client may try again.
    return ActiveLimitExceeded(limit)


@cache
def _spacing(rate: str | None) -> tuple[float, float]:
    """Seconds for each task, and how many seconds may be used at once."""
    parsed = parse_rate(rate)
    if parsed is None:
        return 0.0, 1e12
    number, seconds = parsed
    return seconds / number, float(seconds)
