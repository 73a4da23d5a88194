"""Measure creates over HTTP with API keys, beside the same with access tokens."""

from functools import partial

from benchmarks.figures import Figure, interleaved, ratio
from benchmarks.load import Target
from benchmarks.services import services
from benchmarks.system_under_test import system_under_test

CONNECTIONS = 32
SECONDS = 3
AT_LEAST = 0.95

# A key of each user.
MAKE_KEYS = """
from taskyard.accounts import keys
from taskyard.accounts.models import User
from taskyard.accounts.new_key import NewKey
new = NewKey(name="benchmark", scopes=["tasks:submit"])
for user in User.objects.order_by("id"):
    print(keys.create(user, new)[1])
"""


def ask(rounds: int, short: bool) -> list[Figure]:
    seconds = 1 if short else SECONDS
    with services() as servers, system_under_test(servers.postgresql) as own:
        made = own.command("manage", "shell", "--no-imports", "-c", MAKE_KEYS).split()
        with_token = own.target
        targets = {
            "key": Target(with_token.port, with_token.path, tuple(made)),
            "token": with_token,
        }
        for target in targets.values():
            # The processes learn the keys, and verify the signatures of the tokens.
            target.create(CONNECTIONS, seconds)

        def rate(name: str) -> float:
            return targets[name].create(CONNECTIONS, seconds).per_second

        found = interleaved({name: partial(rate, name) for name in targets}, rounds)
    return [
        ratio(
            f"create over HTTP with a key, {CONNECTIONS} connections, against with a token",
            AT_LEAST,
            ("key", found["key"]),
            ("token", found["token"]),
        )
    ]
