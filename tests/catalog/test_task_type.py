"""Declaring a task type: one typed function."""

import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from taskyard import Run
from taskyard.catalog.run import (
    LINES_A_REPORT,
    REPORT_INTERVAL_SECONDS,
    Cancelled,
    Suspend,
)
from taskyard.catalog.schema import InvalidInput, Signature
from taskyard.catalog.task_type import InvalidResult, Registry, TaskType, UnknownTaskType
from tests.catalog.test_builtin import new_run

Inner = TypeVar("Inner")


class Tree(BaseModel):
    left: "Tree | None"


def declare(handler: Callable[..., Any], **options: Any) -> TaskType:
    return TaskType(name="example", handler=handler, label="", description="", **options)


def word_count(run: Run, text: str, min_length: int = 1) -> dict[str, int]:
    words = [word for word in text.split() if len(word) >= min_length]
    run.progress(len(words), total=len(words), message="counted")
    return {"words": len(words)}


def test_the_signature_is_the_schema() -> None:
    schema = declare(word_count).input_schema
    assert schema["required"] == ["text"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["min_length"] == {
        "default": 1,
        "title": "Min length",
        "type": "integer",
    }
    assert declare(word_count).result_schema["additionalProperties"] == {"type": "integer"}


def test_a_default_is_the_functions_own() -> None:
    assert declare(word_count).call(new_run(), '{"text": "a bc"}') == {"words": 2}


def test_a_parameter_may_have_any_name() -> None:
    def copy(json: int, model_dump: int, copy: int) -> int:
        return json + model_dump + copy

    given = '{"json": 1, "model_dump": 2, "copy": 3}'
    assert declare(copy).call(new_run(), given) == 6


def test_a_parameter_without_annotation_is_refused_where_it_is_written() -> None:
    def untyped(run: Run, text):  # type: ignore[no-untyped-def]
        return text

    with pytest.raises(TypeError, match="text"):
        Registry().add(declare(untyped))


class Login(BaseModel):
    passwords: list[SecretStr]


class Box(BaseModel, Generic[Inner]):
    inner: Inner


def in_clear(token: SecretStr) -> None: ...
def in_bytes(token: SecretBytes | None = None) -> None: ...
def in_general(pin: Secret[int]) -> None: ...
def in_a_model(logins: dict[str, Login]) -> None: ...
def in_a_generic_model(box: Box[SecretStr]) -> None: ...
def in_the_result() -> Login: ...


@pytest.mark.parametrize(
    "handler",
    [in_clear, in_bytes, in_general, in_a_model, in_a_generic_model, in_the_result],
)
def test_a_secret_type_is_refused_where_it_is_written(handler: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=rf"{handler.__name__}: .* secret type") as caught:
        Registry().add(declare(handler))
    assert "\n" not in str(caught.value)


def takes_a_function(key: Callable[[int], int]) -> None: ...
def takes_any_object(thing: Registry) -> None: ...
def returns_any_object() -> Registry: ...


@pytest.mark.parametrize("handler", [takes_a_function, takes_any_object, returns_any_object])
def test_a_type_without_a_schema_is_refused_where_it_is_written(
    handler: Callable[..., Any],
) -> None:
    with pytest.raises(TypeError, match=handler.__name__) as caught:
        Registry().add(declare(handler))
    assert "\n" not in str(caught.value)


def test_a_run_for_a_unit_test_needs_nothing() -> None:
    run = Run()
    run.progress(1, total=2)
    run.log("half")
    run.checkpoint = 1
    assert (run.owner.name, run.tags, run.priority, run.cancelled) == ("owner", (), "normal", False)
    with pytest.raises(Suspend):
        run.sleep(1)


def test_two_functions_cannot_share_a_name() -> None:
    registry = Registry()
    registry.add(declare(word_count))
    registry.add(declare(word_count))
    with pytest.raises(ValueError, match="already"):
        registry.add(declare(new_run))


def test_an_unknown_name_is_said() -> None:
    with pytest.raises(UnknownTaskType):
        Registry().get("nothing")


@pytest.mark.parametrize(
    "options",
    [{"max_attempts": 0}, {"max_attempts": 11}, {"batch": 0}, {"timeout": 0}, {"queue": "A b"}],
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|letters"):
        declare(word_count, **options)


def anything() -> Any:
    return None


@pytest.mark.parametrize("value", [float("nan"), {"a": float("inf")}, "\0", "\ud800", object()])
def test_a_result_that_no_database_keeps_is_refused(value: Any) -> None:
    with pytest.raises(InvalidResult) as caught:
        declare(anything).encode_result(value)
    assert caught.value.code == "result_invalid"


def test_a_result_of_another_type_than_declared_is_refused() -> None:
    with pytest.raises(InvalidResult):
        declare(word_count).encode_result(["not", "a", "dict"])


def test_a_result_too_large_is_an_error_of_its_own() -> None:
    with pytest.raises(InvalidResult) as caught:
        declare(anything, result_limit=100).encode_result("x" * 200)
    assert caught.value.code == "result_too_large"


def test_integers_beyond_64_bits_survive() -> None:
    assert json.loads(declare(anything).encode_result({"n": 2**80})) == {"n": 2**80}


def test_a_deep_input_is_refused_not_a_crash() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidInput):
        declare(word_count).validate({"text": deep})


def test_a_sleep_that_was_slept_is_not_slept_again() -> None:
    run = new_run(slept=1)
    run.sleep(60)
    with pytest.raises(Suspend):
        run.sleep(60)
    assert run.slept == 2


def test_a_loop_may_keep_its_place_and_sleep_in_every_round() -> None:
    rounds: list[int] = []

    def handler(run: Run) -> None:
        for number in range(run.checkpoint or 0, 3):
            rounds.append(number)
            run.sleep(60)
            run.checkpoint = number + 1

    checkpoint, slept = None, 0
    for _ in range(3):
        run = Run(
            task_id=1,
            attempt=1,
            started_at=new_run().started_at,
            now=new_run().started_at,
            checkpoint=checkpoint,
            slept=slept,
        )
        with pytest.raises(Suspend):
            handler(run)
        checkpoint, slept = run.checkpoint, run.slept
    assert rounds == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), "x" * 70_000])
def test_a_checkpoint_that_cannot_be_kept_is_refused_at_once(value: Any) -> None:
    run = new_run()
    with pytest.raises((TypeError, ValueError)):
        run.checkpoint = value


def test_progress_is_reported_at_most_twice_a_second() -> None:
    started = time.monotonic()
    reports: list[str | None] = []
    run = reporting(lambda run: bool(reports.append(run.last_progress)))
    for number in range(100_000):
        run.progress(number, total=100_000)
        run.log("a line")
    assert len(reports) <= 2 * (time.monotonic() - started) + 1
    assert json.loads(run.last_progress or "")["current"] == 99_999
    assert len(run.lines) == LINES_A_REPORT
    assert len(run.lines) + run.lines_dropped == 100_000


@pytest.mark.parametrize("current", [float("nan"), float("inf")])
def test_progress_is_in_finite_numbers(current: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        new_run().progress(current)


def test_a_handler_that_says_anything_notices_that_it_was_cancelled() -> None:
    for say in (
        lambda run: run.progress(1),
        lambda run: run.log("a line"),
        lambda run: run.raise_if_cancelled(),
    ):
        run = reporting(lambda run: True)
        assert not run.cancelled
        time.sleep(REPORT_INTERVAL_SECONDS)
        with pytest.raises(Cancelled):
            say(run)
        assert run.cancelled


def reporting(report: Callable[[Run], bool]) -> Run:
    return Run(
        task_id=1,
        attempt=1,
        started_at=new_run().started_at,
        now=new_run().started_at,
        report=report,
    )


def test_an_integer_that_could_not_be_read_again_is_no_result() -> None:
    with pytest.raises(InvalidResult):
        declare(word_count).encode_result({"words": 10**4400})
    assert json.loads(declare(word_count).encode_result({"words": 10**1100})) == {"words": 10**1100}


def test_an_async_handler_has_the_shape_of_its_result() -> None:
    async def slow_count(text: str) -> int:
        return len(text)

    declared = declare(slow_count)
    assert declared.is_async
    assert declared.result_schema["type"] == "integer"


def test_an_async_generator_is_refused() -> None:
    async def yields(text: str) -> AsyncIterator[str]:
        yield text

    with pytest.raises(TypeError, match="yields: an async handler returns its result"):
        Registry().add(declare(yields))


def test_of_many_flaws_the_first_of_each_list_are_named() -> None:
    def handler(numbers: list[int], names: dict[str, int], rows: list[list[int]]) -> None: ...

    signature = Signature(handler)
    data = {
        "numbers": [1, 2, *[""] * 50_000],
        "names": {f"k{number}": number if number < 3 else "" for number in range(50_000)},
        "rows": [[1], [1, ""], 5],
        "more": 1,
    }
    with pytest.raises(InvalidInput) as refused:
        signature.check(data)
    named = [field_error.path for field_error in refused.value.field_errors]
    assert named == [("numbers", index) for index in range(2, 102)]
    data["numbers"] = [1]
    with pytest.raises(InvalidInput) as refused:
        signature.check(data)
    named = [field_error.path for field_error in refused.value.field_errors]
    assert named == [("names", f"k{index}") for index in range(3, 103)]
    data["names"] = {}
    with pytest.raises(InvalidInput) as refused:
        signature.check(data)
    named = [field_error.path for field_error in refused.value.field_errors]
    assert named == [("rows", 1, 1), ("rows", 2), ("more",)]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({}, "missing"),
        ({"count": 1.5, "tree": {"left": None}}, "int_type"),
        ({"count": True, "tree": {"left": None}}, "int_type"),
        ({"count": "1", "tree": {"left": None}}, "int_type"),
        ({"count": 1, "tree": {"left": {"left": {"left": 1}}}}, "model_type"),
        ({"count": 1, "tree": {"left": None}, "x": 1}, "extra_forbidden"),
        ({"count": 1, "tree": {"left": None}, "ratio": float("nan")}, "finite_number"),
    ],
)
def test_what_the_model_refuses_is_refused(data: dict[str, Any], code: str) -> None:
    """Also of a model that holds itself."""

    def handler(count: int, tree: Tree, ratio: float = 1.0) -> None: ...

    signature = Signature(handler)
    signature.check({"count": 1, "tree": {"left": {"left": None}}, "ratio": 2})
    with pytest.raises(InvalidInput) as refused:
        signature.check(data)
    assert code in [field_error.code for field_error in refused.value.field_errors]
