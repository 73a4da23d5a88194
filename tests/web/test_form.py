"""An input survives the conversion to form fields and back."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from taskyard.catalog.schema import InvalidInput, Signature
from taskyard.web import fields, schema_form


class Point(TypedDict):
    x: int
    y: int


class Node(BaseModel):
    name: str
    children: list["Node"] = []


def every(
    text: str,
    count: int,
    ratio: float,
    sure: bool,
    colour: Literal["red", "green"],
    numbers: list[int | float],
    words: list[str],
    point: Point,
    tree: Node,
    maybe: int | None = None,
    flag: bool | None = None,
    anything: Any = None,
    title: str = "untitled",
) -> None:
    pass


SIGNATURE = Signature(every)
FIELDS = fields.build_fields(SIGNATURE.input_schema)
INPUT = {
    "text": "two\nlines  ",
    "count": 2**70,
    "ratio": 0.1,
    "sure": True,
    "colour": "green",
    "numbers": [1, 2.5, 9007199254740993, -1],
    "words": ["a b", "<b>", "ё"],
    "point": {"x": 1, "y": -2},
    "tree": {"name": "root", "children": [{"name": "leaf", "children": []}]},
    "maybe": 7,
    "flag": False,
    "anything": {"deep": [1, {"er": 18446744073709551617}]},
    "title": "",
}


def test_each_kind_of_value_has_its_field() -> None:
    assert {str(field.path[0]): field.kind for field in FIELDS} == {
        "text": "text",
        "count": "integer",
        "ratio": "number",
        "sure": "boolean",
        "colour": "choice",
        "numbers": "list",
        "words": "list",
        "point": "object",
        "tree": "object",
        "maybe": "integer",
        "flag": "choice",
        "anything": "json",
        "title": "text",
    }


def test_what_is_written_into_the_fields_is_read_back_exactly() -> None:
    typed = schema_form.form_texts(FIELDS, INPUT)
    assert typed["/numbers"] == "1\n2.5\n9007199254740993\n-1"
    assert schema_form.parse(FIELDS, typed) == INPUT
    SIGNATURE.check(INPUT)


def test_an_empty_field_is_not_given_and_a_cleared_default_is() -> None:
    read = schema_form.parse(FIELDS, {"/sure": ""})
    assert read == {"sure": False, "point": {}, "tree": {"children": []}, "title": ""}


@pytest.mark.parametrize("text", ["x", "1,5", "0x10", "1e400", "NaN", "--1", "9" * 5000])
def test_what_is_no_number_goes_on_as_text(text: str) -> None:
    assert schema_form.parse_number(text) == text


@pytest.mark.parametrize(("text", "value"), [(" 7 ", 7), ("1e2", 100.0), ("9" * 30, int("9" * 30))])
def test_a_number_is_exact(text: str, value: float) -> None:
    assert schema_form.parse_number(text) == value


def test_json_that_is_none_is_said_with_its_place() -> None:
    with pytest.raises(InvalidInput) as error:
        schema_form.parse(FIELDS, {"/anything": "{"})
    assert [field_error.path for field_error in error.value.field_errors] == [("anything",)]


def test_a_flaw_stands_at_the_innermost_field() -> None:
    with pytest.raises(InvalidInput) as error:
        SIGNATURE.check({**INPUT, "numbers": [1, "x"], "point": {"x": 1, "y": "z"}, "more": 1})
    texts = schema_form.errors_by_field(
        FIELDS, error.value.field_errors, schema_form.form_texts(FIELDS, INPUT)
    )
    assert set(texts) == {"/numbers", "/numbers/1", "/point/y", ""}
    assert texts["/numbers"][0].startswith("2: ")
