"""Measure the CPU time of a request's parts in one process: the lowest tenth of many tries.

`python -m benchmarks.profile [--tries 200]`, on PostgreSQL. It uses no socket and does not count
later notifications, so two versions can be compared on a busy machine.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from http import HTTPStatus

from tests import servers

TOGETHER = 8
SUM = {"task_type": "sum", "input_data": {"numbers": [1, 2, 3]}}


def forms() -> dict[str, Callable[[], object]]:
    """The measured calls by name. The import of the web's application sets up Django."""
    from django.core.management import call_command

    from taskyard.accounts import keys, tokens
    from taskyard.accounts.models import User
    from taskyard.accounts.new_key import NewKey
    from taskyard.accounts.scopes import Scope
    from taskyard.api import intake
    from taskyard.core import lifecycle, notifications, strict_json
    from taskyard.server import asgi
    from taskyard.server.wsgi_adapter import environ

    call_command("migrate", verbosity=0)
    user = User.objects.create(username="owner", password="!")
    lifecycle.open_quota(user.pk)
    access = tokens.issue(user).access
    key = keys.create(user, NewKey(name="key", scopes=[Scope.TASKS_SUBMIT]))[1]
    proof = tokens.decode(access).proof
    notifications.start()
    asgi.disconnect_unneeded_receivers()
    asgi.freeze_gc()

    def asking(
        method: str, path: str, wanted: HTTPStatus, body: bytes = b"", token: str = access
    ) -> Callable[[], None]:
        scope = {
            "method": method,
            "raw_path": path.encode(),
            "query_string": b"",
            "http_version": "1.1",
            "server": ("127.0.0.1", 8000),
            "headers": [
                (b"host", b"127.0.0.1:8000"),
                (b"content-type", b"application/json"),
                (b"authorization", b"Bearer " + token.encode()),
            ],
        }

        def ask() -> None:
            answered: list[str] = []
            answer = asgi.wsgi(environ(scope, body), lambda status, _: answered.append(status))
            b"".join(answer)
            answer.close()
            assert answered[0].startswith(str(wanted.value)), answered

        return ask

    one, many = strict_json.dumps(SUM), strict_json.dumps({"tasks": [SUM] * 1000})
    new = intake.parse_task(strict_json.loads(one))
    return {
        "livez": asking("GET", "/livez", HTTPStatus.OK),
        "a task type": asking("GET", "/api/task-types/sum/", HTTPStatus.OK),
        "create": asking("POST", "/api/tasks/create/", HTTPStatus.CREATED, one),
        "create with a key": asking("POST", "/api/tasks/create/", HTTPStatus.CREATED, one, key),
        "create: reading the body": lambda: intake.parse_task(strict_json.loads(one)),
        "create: accepting": lambda: lifecycle.submit(user.pk, new, proof=proof),
        "bulk of 1,000": asking("POST", "/api/tasks/bulk/", HTTPStatus.CREATED, many),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=200)
    tries = parser.parse_args().tries
    with ExitStack() as stack:
        server = stack.enter_context(servers.postgresql())
        os.environ |= {
            "DATABASE_URL": stack.enter_context(servers.database(server)),
            "REDIS_URL": stack.enter_context(servers.broker()),
            "TASKYARD_HOME": stack.enter_context(tempfile.TemporaryDirectory()),
            "TASKYARD_ACTIVE_LIMIT": "1000000",
            "TASKYARD_SUBMIT_RATE": "999999999/s",
            "TASKYARD_BYTES_PER_USER": "1000 TiB",
        }
        from django.db import connections

        import taskyard.server.asgi  # noqa: F401

        measured = forms()
        spent: dict[str, list[float]] = {name: [] for name in measured}
        for _ in range(tries):
            for name, call in measured.items():
                count = 1 if "1,000" in name else TOGETHER
                began = time.thread_time()
                for _ in range(count):
                    call()
                spent[name].append((time.thread_time() - began) / count)
        for name, each in spent.items():
            print(f"{name:26} {sorted(each)[len(each) // 10] * 1e6:8,.0f} µs of CPU")
        connections.close_all()


if __name__ == "__main__":
    main()
