"""The tasks of the shop, which Django's own tests have too, and some more."""

import asyncio
import os
from datetime import UTC, datetime
from typing import Any

from tests.contrib.django_tasks.names import task

calls: list[tuple[Any, ...]] = []


@task()
def noop(*args: Any, **kwargs: Any) -> None:
    """Do nothing.

    For any arguments.
    """


@task
def bare(*args: Any, **kwargs: Any) -> None: ...


@task()
async def noop_async(*args: Any, **kwargs: Any) -> None: ...


@task()
def echo(*args: Any, **kwargs: Any) -> list[Any]:
    return [args, kwargs]


@task()
async def echo_async(*args: Any, **kwargs: Any) -> list[Any]:
    await asyncio.sleep(0)
    return [args, kwargs]


@task()
def ship(order_id: int, *, express: bool = False) -> str:
    return f"{order_id} {'at once' if express else 'soon'}"


@task()
def fails(message: str = "no such order") -> None:
    raise ValueError(message)


class PaymentRefused(Exception):
    """An exception of the project."""


@task()
def refuses() -> None:
    raise PaymentRefused("card expired")


@task()
async def refuses_async() -> None:
    raise PaymentRefused("card expired")


@task()
def exits() -> None:
    raise SystemExit("leaving")


@task()
def interrupts() -> None:
    raise KeyboardInterrupt("stop")


@task()
def nests() -> None:
    raise ValueError(ValueError("This task failed"))


@task()
def returns(what: str) -> Any:
    return {
        "function": lambda: True,
        "nan": float("nan"),
        "time": datetime(2026, 1, 1, tzinfo=UTC),
        "tuple": (1, "2", None),
        "bytes": b"text",
        "numbered": {1: "one"},
        "null": "a\0b",
    }[what]


@task(takes_context=True)
def own_id(context: Any) -> str:
    return str(context.task_result.id)


@task(takes_context=True)
async def own_attempt_async(context: Any, attempt: int) -> bool:
    return bool(context.attempt == attempt and context.run.attempt == attempt)


@task(takes_context=True)
def second_time_lucky(context: Any) -> list[Any]:
    """Fail once; return what the context has then."""
    if context.attempt == 1:
        raise PaymentRefused("try again")
    return [context.attempt, len(context.task_result.errors), context.run.key]


@task(takes_context=True)
def prints_invoice(context: Any, number: int) -> int:
    return int(context.run.save_file(f"{number}.txt", b"an invoice").id)


@task(takes_context=True)
def sleeps(context: Any) -> str:
    context.run.progress(1, total=2)
    context.run.sleep(60)
    return "slept"


@task(priority=7, queue_name="mail")
def mail(address: str) -> str:
    return address


@task()
def process() -> int:
    return os.getpid()


@task()
def renamed() -> str:
    return "by its new name"
