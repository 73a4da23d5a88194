"""Prepare and check a measurement: tables, users with tokens, a backlog, its results."""

import os
from datetime import timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.peers.ordinary.settings")
django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from rest_framework_simplejwt.tokens import AccessToken  # noqa: E402

from benchmarks.peers.ordinary import tasks  # noqa: E402
from benchmarks.peers.ordinary.models import Task  # noqa: E402
from benchmarks.peers.programs import play  # noqa: E402

USERS = 100


def users(count: int):
    """Insert new users directly, because a registration hashes a password for a long time."""
    call_command("migrate", verbosity=0)
    User = get_user_model()
    return User.objects.bulk_create(User(username=f"user-{n}") for n in range(count))


def tokens(count: int) -> str:
    """An access token a line, for as long as a benchmark lasts."""
    made = []
    for user in users(count):
        token = AccessToken.for_user(user)
        token.set_exp(lifetime=timedelta(hours=12))
        made.append(str(token))
    return "\n".join(made)


def fill(count: int) -> None:
    owners = users(USERS)
    backlog = Task.objects.bulk_create(
        (
            Task(user=owners[n % USERS], task_type="sum", input_data={"numbers": [n, 1]})
            for n in range(count)
        ),
        batch_size=1000,
    )
    for task in backlog:
        tasks.send(task)


def kept(count: int) -> int:
    done = Task.objects.filter(status=Task.Status.COMPLETED)
    return sum(result["result"] for result in done.values_list("result", flat=True))


if __name__ == "__main__":
    play(tokens=tokens, fill=fill, kept=kept)
