"""Celery tasks with secrets: the same as of a task type, and never in a checkpoint."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from celery import Celery

from taskyard import Run, Secret
from taskyard.catalog.run import Fail
from taskyard.catalog.secrets import DOTS
from taskyard.catalog.task_type import registry
from taskyard.contrib.celery import expose
from taskyard.core import lifecycle
from taskyard.core.encryption import PREFIX
from taskyard.core.intake import parse_task
from taskyard.core.models import Task
from taskyard.core.types import UserId
from tests.configured import configure
from tests.running import run_ready
from tests.secret_types import digest

app = Celery("secrets", broker="memory://", backend="cache+memory://", set_as_current=False)
NAMES = ("celery-sign-in", "celery-typed")


@app.task(name="shop.sign_in", bind=True, max_retries=1)
def sign_in(self: Any, password: Annotated[str, Secret], retry_with: str = "") -> str:
    if retry_with:
        raise self.retry(kwargs={"password": password + retry_with})
    return digest(password) + self.request.kwargsrepr


@app.task(name="shop.typed")
def typed(password: str) -> str:
    return digest(password)


@pytest.fixture(autouse=True)
def exposed(settings: Any) -> Iterator[None]:
    from taskyard.server.home import new_encryption_key

    configure(settings, ENCRYPTION_KEYS=[new_encryption_key()])
    expose(sign_in, NAMES[0])
    expose(typed, NAMES[1], types={"password": Annotated[str, Secret]}, keep_input=False)
    yield
    for name in NAMES:
        registry._types.pop(name)
        registry.with_secrets.discard(name)
        registry.forgetful.discard(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_secret_is_encrypted_and_reaches_the_task(owner_id: UserId, name: str) -> None:
    new = parse_task({"task_type": name, "input_data": {"password": "hunter22"}})
    task = lifecycle.submit(owner_id, new)
    assert task.input_data["password"].startswith(PREFIX)
    assert task.shown_input == {"password": DOTS}
    run_ready()
    ended = Task.objects.get()
    assert ended.result.startswith(digest("hunter22"))
    assert "hunter22" not in ended.result
    assert (ended.input_data is None) == (name == NAMES[1])


def test_a_retry_with_other_arguments_keeps_none_in_clear() -> None:
    run = Run(task_type=NAMES[0])
    with pytest.raises(Fail) as caught:
        registry.get(NAMES[0]).call(run, '{"password": "hunter22", "retry_with": "x"}')
    assert caught.value.code == "retry_invalid"
    assert run.checkpoint is None
