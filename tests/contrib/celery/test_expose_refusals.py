"""`expose` refuses a task that could not be called, in one line; other uses of a task go on."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from celery import Celery, Task

from taskyard import Run
from taskyard.catalog.run import Fail
from taskyard.catalog.task_type import registry
from taskyard.contrib.celery import expose

app = Celery("refused", broker="memory://", backend="cache+memory://", set_as_current=False)


@app.task(name="shop.fine")
def fine(number: int) -> int:
    return number


@app.task(name="shop.positional")
def positional(number: int, /) -> None: ...


@app.task(name="shop.any_number")
def any_number(*numbers: int) -> None: ...


@app.task(name="shop.yields")
def yields() -> Iterator[int]:
    yield 1


@app.task(name="shop.yields_async")
async def yields_async() -> AsyncIterator[int]:
    yield 1


@app.task(name="shop.coroutine")
async def coroutine() -> None: ...


@app.task(name="shop.no_annotation")
def no_annotation(number) -> None: ...  # type: ignore[no-untyped-def]


@app.task(name="shop.for_ever", max_retries=None)
def for_ever() -> None: ...


@app.task(name="shop.often", autoretry_for=(ValueError,), retry_kwargs={"max_retries": 20})
def often() -> None: ...


class OfAClass(Task):
    name = "shop.of_a_class"

    def run(self) -> None: ...


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        (fine, {"types": {"nummer": int}}, "shop.fine has no parameter 'nummer'"),
        (positional, {}, "shop.positional takes 'number', which cannot be given by name"),
        (any_number, {}, "shop.any_number takes '*numbers', which cannot be given by name"),
        (yields, {}, "shop.yields yields; a task returns its result"),
        (yields_async, {}, "shop.yields_async yields; a task returns its result"),
        (coroutine, {}, "shop.coroutine is a coroutine, which Celery does not run"),
        (no_annotation, {}, "has no annotation for 'number': give its type in types"),
        (OfAClass, {}, "is no task of Celery: register the class, and give the instance"),
        (print, {}, "is no task of Celery"),
        (for_ever, {}, "shop.for_ever retries without limit, a task of Taskyard has at most 10"),
        (often, {}, "shop.often retries 20 times, a task of Taskyard has at most 10"),
        (fine, {"max_attempts": 11}, "max_attempts must be 1 to 10"),
        (fine, {"queue": "Not A Queue"}, "lower-case letters"),
    ],
)
def test_a_wrong_use_is_one_clear_line(task: Any, options: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as refusal:
        expose(task, "refused", **options)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@app.task(name="shop.limited", max_retries=4, time_limit=30, soft_time_limit=20)
def limited() -> None: ...


def test_limits_of_the_task_become_options() -> None:
    expose(limited, "limited")
    expose(for_ever, "limited-otherwise", max_attempts=10, timeout=5)
    found = registry.get("limited")
    assert (found.max_attempts, found.timeout) == (5, 20)
    found = registry.get("limited-otherwise")
    assert (found.max_attempts, found.timeout) == (10, 5)


@app.task(name="shop.inner", bind=True)
def inner(self: Any, fail: bool) -> str:
    if fail:
        raise ValueError("no")
    fine.delay(1)
    return str(self.request.id)


def test_delay_goes_on_as_before() -> None:
    expose(inner, "inner")
    handler = registry.get("inner")
    assert handler.call(Run(task_id=5), '{"fail": false}') == "5"
    with pytest.raises(Fail):
        handler.call(Run(task_id=6), '{"fail": true}')
    assert "signature_from_request" not in vars(inner)
    inner.delay(fail=False)
    assert inner.backend is app.backend
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue("celery")
        names = [queue.get(timeout=1).headers["task"] for _ in range(2)]
    assert names == ["shop.fine", "shop.inner"]
