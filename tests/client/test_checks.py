"""The command line's own check of an input reports the same errors as the server."""

import gettext
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from django.utils import translation
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from taskyard.api.errors import pointer
from taskyard.catalog import builtin, schema
from taskyard.catalog.schema import InvalidInput, Signature
from taskyard.client import i18n
from taskyard.client.commands import checks
from taskyard.client.errors import FieldError
from taskyard.core import messages


class Point(BaseModel):
    x: float


def varied(
    name: Annotated[str, Field(min_length=2, max_length=3)],
    share: Annotated[float, Field(ge=0, lt=1)] = 0,
    above: Annotated[float, Field(gt=0)] = 1,
    on: bool = True,
    maybe: int | None = None,
    either: str | list[int] = "",
    counts: dict[str, int] = {},  # noqa: B006
    pair: tuple[int, str] = (1, ""),
    point: Point | None = None,
    pick: Literal["a", "b"] = "a",
    when: datetime | None = None,
    some: set[int] = frozenset(),  # type: ignore[assignment]
) -> None:
    """A parameter of every sort."""


SIGNATURES = [Signature(handler) for handler in (builtin.sum, builtin.countdown, varied)]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
known = {name for signature in SIGNATURES for name in signature.input_schema["properties"]}
inputs = st.dictionaries(st.sampled_from(sorted(known)) | st.just("~/"), values, max_size=5)


def told(signature: Signature, data: dict[str, Any]) -> list[FieldError]:
    """The errors that the server reports."""
    try:
        signature.check(data)
    except InvalidInput as error:
        field_errors = [
            schema.FieldError(("input_data", *each.path), *_rest(each))
            for each in error.field_errors
        ]
        with translation.override("en"):
            return [
                FieldError(pointer(each), each.code, messages.of_field_error(each))
                for each in field_errors
            ]
    return []


def _rest(field_error: schema.FieldError) -> tuple[str, str, dict[str, Any]]:
    return field_error.code, field_error.message, field_error.context


# The first example may take seconds on a slow machine.
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(SIGNATURES), inputs)
@example(SIGNATURES[2], {"name": "long", "either": [1, "x"], "counts": {"a/~": None}, "other": 1})
@example(SIGNATURES[2], {"name": "ab", "point": {"x": "1"}, "maybe": "1"})
def test_whatever_is_said_here_the_server_says_in_the_same_words(
    signature: Signature, data: dict[str, Any]
) -> None:
    refused = checks.refusal(signature.input_schema, data)
    if refused is not None:
        assert (refused.status, refused.code) == (400, "invalid")
        assert {*refused.errors} <= {*told(signature, data)}


@pytest.mark.parametrize(
    "data",
    [
        {}, {"numbers": []}, {"numbers": "x"}, {"numbers": [1, "x", 2**60, 1e300, None, True]},
        {"numbers": [1] * 10_001}, {"numbers": ["x"] * 200}, {"numbers": [1], "other": 1},
    ],
)  # fmt: skip
def test_the_usual_mistakes_are_found_here(data: dict[str, Any]) -> None:
    refused = checks.refusal(SIGNATURES[0].input_schema, data)
    assert refused is not None
    assert list(refused.errors) == told(SIGNATURES[0], data)[: checks.MOST_FIELD_ERRORS]


@pytest.mark.parametrize("seconds", [0, 3601, 1.5, "5", True, None, [], {}])
def test_a_wrong_number_of_seconds_is_found_here(seconds: object) -> None:
    data = {"seconds": seconds}
    refused = checks.refusal(SIGNATURES[1].input_schema, data)
    assert refused is not None
    assert list(refused.errors) == told(SIGNATURES[1], data)


def test_what_fits_and_what_only_the_server_can_judge_is_let_through() -> None:
    for data in (
        {"name": "ab"},
        {"name": "ab", "pick": "c"},
        {"name": "ab", "pair": [1]},
        {"name": "ab", "point": {"x": "no number"}},
        {"name": "ab", "share": float("inf")},
    ):
        assert checks.refusal(SIGNATURES[2].input_schema, data) is None


@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_the_words_are_the_server_s(language: str) -> None:
    folder = Path(i18n.__file__).parent / "locale"
    ours = gettext.translation(i18n.DOMAIN, folder, [language])
    bound = dict.fromkeys(
        ("min_length", "max_length", "gt", "ge", "lt", "le"), "%(bound)s"
    )  # the server names each by its keyword
    with translation.override(language):
        for code, text in checks.WORDS.items():
            assert ours.gettext(text) == str(messages.MESSAGES[code]) % bound
