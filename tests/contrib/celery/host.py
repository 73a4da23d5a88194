"""A host project's Celery app with its tasks, and the lines that expose them.

Its broker and its result backend cannot be reached: Taskyard must not need them.
"""

import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

from celery import Celery, Task, current_task, shared_task, signals, states
from celery.contrib.abortable import AbortableTask
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from pydantic import BaseModel

from taskyard import InputFile
from taskyard.contrib.celery import expose

host = Celery("host", broker="amqp://127.0.0.1:1//", backend="redis://127.0.0.1:1/0")
host.conf.update(broker_connection_retry=False, task_publish_retry=False)
SENT: list[str] = []
for _name in ("task_prerun", "task_postrun", "task_success", "task_failure", "task_retry"):
    getattr(signals, _name).connect(
        lambda _name=_name, **kwargs: SENT.append(_name), weak=False, dispatch_uid=_name
    )


@shared_task(bind=True, max_retries=2)
def send_invoice(self: Any, order_id, day: date, steps: int = 3) -> dict[str, Any]:  # type: ignore[no-untyped-def]
    """Send the invoice of an order.

    Its first attempt fails.
    """
    if self.request.retries == 0:
        raise self.retry(countdown=0.2, exc=ConnectionError("no mail server"))
    for step in range(steps):
        self.update_state(state="PROGRESS", meta={"current": step + 1, "total": steps})
        time.sleep(0.02)
    return {"order": order_id, "day": day.isoformat()}


@host.task(bind=True, name="host.request")
def request(self: Any) -> dict[str, Any]:
    asked = self.request
    return {
        "id": asked.id,
        "root_id": asked.root_id,
        "retries": asked.retries,
        "called_directly": asked.called_directly,
        "hostname": asked.hostname,
        "delivery_info": asked.delivery_info,
        "current": current_task.request.id,
        "state": self.AsyncResult(asked.id).state,
        "other": self.AsyncResult("of another").state,
        "app": self.app.main,
        "depth": len(self.request_stack),
    }


@host.task(
    bind=True,
    autoretry_for=(ValueError,),
    retry_backoff=1,
    retry_jitter=False,
    retry_kwargs={"max_retries": 2},
)
def autoretries(self: Any, until: int) -> int:
    if self.request.retries < until:
        raise ValueError(f"attempt {self.request.retries}")
    return int(self.request.retries)


@host.task(bind=True)
def retries_later(self: Any, naive: bool) -> str:
    if not self.request.retries:
        eta = datetime.now(UTC) + timedelta(seconds=1)
        raise self.retry(eta=eta.replace(tzinfo=None) if naive else eta)
    return "done"


@host.task(bind=True)
def pages(self: Any, page: int, seen: list[int]) -> list[int]:
    if page < 3:
        raise self.retry(kwargs={"page": page + 1, "seen": [*seen, page]}, countdown=0)
    return seen


@host.task(bind=True)
def retries_quietly(self: Any) -> str:
    if not self.request.retries:
        self.retry(throw=False, countdown=0)
    return f"returned {self.request.retries}"


@host.task(throws=(KeyError,))
def fails(message: str) -> None:
    raise KeyError(message)


@host.task(bind=True)
def ends(self: Any, how: str) -> Any:
    match how:
        case "ignore":
            raise Ignore
        case "failure":
            self.update_state(state=states.FAILURE, meta="set by the task")
            raise Ignore
        case "success":
            self.update_state(state=states.SUCCESS, meta=[1, 2])
            raise Ignore
        case "reject":
            raise Reject("not wanted", requeue=False)
        case "requeue":
            raise Reject("later", requeue=self.request.retries == 0)
        case "exit":
            raise SystemExit(1)
        case "meta":
            self.update_state(state="PROGRESS", meta={"current": "a", "total": object()})
            self.update_state(state="PROGRESS", meta=None)
            self.backend.store_result("of another", {"current": 1}, "PROGRESS")


@host.task(soft_time_limit=0.5)
def cleans_up(again: bool) -> str:
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        if again:
            raise
    return "cleaned up"


@host.task(time_limit=0.5)
def hangs() -> None:
    try:
        time.sleep(30)
    except Exception:
        time.sleep(30)


@host.task(bind=True)
def counts(self: Any, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        self.update_state(state="PROGRESS", meta={"current": 1, "status": "counting"})
        time.sleep(0.05)


@host.task(bind=True, base=AbortableTask)
def aborts(self: Any, seconds: float) -> str:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not self.is_aborted():
        time.sleep(0.05)
    return "aborted"


@host.task
def deaf(seconds: float) -> None:
    time.sleep(seconds)


@host.task(bind=True)
def survives(self: Any, seconds: float) -> int:
    time.sleep(seconds)
    return int(self.request.retries)


class Custom(Task):
    """A task of a class, with hooks and a call of its own."""

    name = "host.custom"
    hooks: list[str]

    def __init__(self) -> None:
        self.hooks = []

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        self.hooks.append(f"before {task_id}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.hooks.append("call")
        return super().__call__(*args, **kwargs)

    def run(self, word: str) -> dict[str, Any]:
        hooks, self.hooks = self.hooks, []
        return {"word": word, "hooks": hooks, "id": self.request.id}


custom = host.register_task(Custom())


class Order(BaseModel):
    number: int


@host.task(pydantic=True)
def models(order: Order) -> Order:
    return Order(number=order.number + 1)


@host.task
def sent() -> list[str]:
    """The signals since the last call."""
    found, SENT[:] = SENT[:], []
    return found


@host.task
def takes_more(**options: Any) -> dict[str, Any]:
    return options


@host.task(bind=True)
def measures(self: Any, photo: InputFile, again: bool) -> list[Any]:
    """Read a file; its second attempt gets it by the arguments of the retry."""
    if again:
        raise self.retry(kwargs={"photo": photo, "again": False}, countdown=0)
    with photo.open() as stream:
        return [photo.name, len(stream.read()), photo.path.stat().st_size]


expose(measures, "measures")
expose(send_invoice, "send-invoice", types={"order_id": int})
expose(request, "request", queue="default")
expose(takes_more, "takes-more", types={"colour": str})
for _task in (autoretries, retries_later, pages, retries_quietly, fails, ends, cleans_up, hangs):
    expose(_task, _task.name.rpartition(".")[2].replace("_", "-"))
for _task in (counts, aborts, deaf, survives, custom, models, sent):
    expose(_task, _task.name.rpartition(".")[2])
