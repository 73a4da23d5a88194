"""Rates as settings say them."""

import re

PERIODS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_RATE = re.compile(r"(\d+)/(s|sec|second|m|min|minute|h|hour|d|day)")


def parse_rate(rate: str | None) -> tuple[int, int] | None:
    """ "30/hour" as (30, 3600); None where there is no limit. Raises ValueError."""
    if not rate:
        return None
    parts = _RATE.fullmatch(rate.strip())
    if not parts:
        raise ValueError(f"{rate!r}: a rate is a number/period, such as 30/hour or 10/min")
    return int(parts[1]), PERIODS[parts[2][0]]
