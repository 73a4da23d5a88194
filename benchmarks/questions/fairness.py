"""Measure one user who fills the table, and a thousand users who fill it together."""

from dataclasses import replace
from functools import partial

from benchmarks.figures import Figure, interleaved, ratio
from benchmarks.services import services
from benchmarks.system_under_test import USERS, system_under_test

CONNECTIONS = 8
DRAINED, SHORT_DRAINED = 30_000, 500


def ask(rounds: int, short: bool) -> list[Figure]:
    seconds = 1 if short else 3
    drained = SHORT_DRAINED if short else DRAINED
    with services() as servers, system_under_test(servers.postgresql) as own:
        many = own.target
        one = replace(many, tokens=many.tokens[:1])
        # Before the creates, so that no worker has to run the tasks that they leave.
        worked = interleaved(
            {
                "one user": partial(own.drain, drained, owners=1),
                "1,000 users": partial(own.drain, drained, owners=USERS),
            },
            rounds,
        )
        if not short:
            many.create(CONNECTIONS, 1)
        created = interleaved(
            {
                "one user": lambda: one.create(CONNECTIONS, seconds).per_second,
                "1,000 users": lambda: many.create(CONNECTIONS, seconds).per_second,
            },
            rounds,
        )
    return [
        ratio(
            f"one user against 1,000: {what}",
            at_least,
            ("one user", found["one user"]),
            ("1,000 users", found["1,000 users"]),
        )
        for what, at_least, found in (("create", 0.5, created), ("drain", 0.8, worked))
    ]
