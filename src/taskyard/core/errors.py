"""Refusals: a rule said no. They carry a code and know no HTTP."""

from typing import Any


class Refusal(Exception):
    """A request that a rule of the lifecycle refuses."""

    code = "refused"

    def __init__(self, **params: Any) -> None:
        super().__init__(self.code, params)
        self.params = params


class ActiveLimitExceeded(Refusal):
    """The owner has as many active tasks as allowed (``limit``)."""

    code = "active_limit_exceeded"

    def __init__(self, limit: int) -> None:
        super().__init__(limit=limit)
        self.limit = limit
