"""The web process sends wake-ups without loading Celery, and Celery understands them."""

import json
import os
import secrets
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from taskyard.core import wakeup
from taskyard.core.celery_message import WAKE_UP, wake_up_message
from taskyard.core.redis import client
from tests.api_client import IN_HOST

CREATE_ONE = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
import sys
from importlib import import_module
import_module(sys.argv[1])
from django.test import Client
from taskyard.core.redis import client
from taskyard.core import wakeup
from tests.api_client import ApiClient
from tests.people import access_of, new_user
response = ApiClient(Client(SERVER_NAME="localhost"), access_of(new_user("ann"))).create()
with client() as redis:
    print(response.status_code, redis.llen(wakeup.keys_of("default").messages))
print(sorted({name.partition(".")[0] for name in sys.modules} & {"celery", "kombu", "billiard"}))
"""


def test_the_web_sends_a_message_and_has_not_loaded_celery(tmp_path: Path) -> None:
    asgi = "tests.host_project.asgi" if IN_HOST else "taskyard.server.asgi"
    environment = {
        **os.environ,
        "TASKYARD_PROCESS": "web",
        "TASKYARD_LOG_FORMAT": "text",
        "TASKYARD_HOME": str(tmp_path),
        "DATABASE_URL": f"sqlite:///{tmp_path}/web.sqlite3",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    ran = subprocess.run(
        [sys.executable, "-c", CREATE_ONE, asgi], env=environment, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout) == (0, "201 1\n[]\n"), ran.stderr


@pytest.mark.django_db
def test_the_message_is_that_which_celery_writes() -> None:
    from taskyard.worker.celery_app import wake_up

    queue = f"queue-{secrets.token_hex(4)}"
    wake_up.apply_async((queue,), queue=queue, retry=False)
    with client() as redis:
        written = redis.lpop(wakeup.keys_of(queue).messages)
    theirs, ours = json.loads(str(written)), json.loads(wake_up_message(queue))
    assert _body(ours) == _body(theirs)
    # Its exchange has the queue's name; the default exchange delivers to that queue as well.
    theirs["properties"]["delivery_info"] = {"exchange": "", "routing_key": queue}
    assert _without_ids(ours) == _without_ids(theirs)


def test_each_message_has_ids_of_its_own() -> None:
    first, second = (json.loads(wake_up_message("default")) for _ in range(2))
    assert first["headers"]["task"] == WAKE_UP
    assert first["headers"]["id"] == first["properties"]["correlation_id"]
    assert first["headers"]["id"] != second["headers"]["id"]
    assert first["properties"]["delivery_tag"] != second["properties"]["delivery_tag"]


def _body(message: dict[str, Any]) -> Any:
    return json.loads(b64decode(message["body"]))


def _without_ids(message: dict[str, Any]) -> dict[str, Any]:
    del message["body"]
    for name in ("id", "root_id", "origin"):
        assert message["headers"].pop(name)
    for name in ("correlation_id", "delivery_tag", "reply_to"):
        message["properties"].pop(name)
    return message
