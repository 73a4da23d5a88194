"""Secrets in signatures: where they may be, and how inputs with them are checked."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    RootModel,
    StringConstraints,
    WithJsonSchema,
)
from typing_extensions import TypedDict

from taskyard import Secret
from taskyard.catalog.schema import InvalidInput, Signature
from taskyard.catalog.secrets import DOTS, without

Inner = TypeVar("Inner")
Text = Annotated[str, Secret]


class Account(BaseModel):
    user: str
    password: Annotated[str, Secret, Field(min_length=4)]


class Other(BaseModel):
    token: str


class Box(BaseModel, Generic[Inner]):
    inner: Inner


class Tree(BaseModel):
    key: Text
    branches: list["Tree"] = []


class Tokens(RootModel[list[Text]]):
    pass


@dataclass
class Header:
    value: Text


class Pair(TypedDict):
    right: Text


def plain(secret: Text) -> None: ...
def optional(secret: Text | None = None) -> None: ...
def in_a_list(secrets: list[Text]) -> None: ...
def in_a_tuple(pair: tuple[int, Text]) -> None: ...
def in_a_dictionary(secrets: dict[str, Text]) -> None: ...
def in_a_model(account: Account) -> None: ...
def in_a_generic_model(box: Box[Text]) -> None: ...
def in_a_tree(tree: Tree) -> None: ...
def in_a_root(tokens: Tokens) -> None: ...
def in_a_dataclass(header: Header) -> None: ...
def in_a_typed_dictionary(pair: Pair) -> None: ...
def in_a_union(one: Account | Other) -> None: ...
def beside_a_number(one: int | Text) -> None: ...


@pytest.mark.parametrize(
    ("handler", "given", "hidden"),
    [
        (plain, {"secret": "s3cret"}, {"secret": DOTS}),
        (optional, {"secret": "s3cret"}, {"secret": DOTS}),
        (optional, {"secret": None}, {"secret": None}),
        (optional, {}, {}),
        (in_a_list, {"secrets": ["a", ""]}, {"secrets": [DOTS, DOTS]}),
        (in_a_tuple, {"pair": [1, "a"]}, {"pair": [1, DOTS]}),
        (in_a_dictionary, {"secrets": {"a/b": "c"}}, {"secrets": {"a/b": DOTS}}),
        (
            in_a_model,
            {"account": {"user": "ann", "password": "s3cret"}},
            {"account": {"user": "ann", "password": DOTS}},
        ),
        (in_a_generic_model, {"box": {"inner": "s3cret"}}, {"box": {"inner": DOTS}}),
        (
            in_a_tree,
            {"tree": {"key": "a", "branches": [{"key": "b"}]}},
            {"tree": {"key": DOTS, "branches": [{"key": DOTS}]}},
        ),
        (in_a_root, {"tokens": ["a"]}, {"tokens": [DOTS]}),
        (in_a_dataclass, {"header": {"value": "a"}}, {"header": {"value": DOTS}}),
        (in_a_typed_dictionary, {"pair": {"right": "a"}}, {"pair": {"right": DOTS}}),
        (in_a_union, {"one": {"token": "open"}}, {"one": {"token": "open"}}),
        (beside_a_number, {"one": 7}, {"one": 7}),
        (beside_a_number, {"one": "seven"}, {"one": DOTS}),
    ],
)
def test_each_place_is_found_and_the_handler_gets_the_text(
    handler: Callable[..., Any], given: dict[str, Any], hidden: dict[str, Any]
) -> None:
    signature = Signature(handler)
    signature.check(given)
    assert signature.secrets is not None
    assert signature.secrets.replace(given, lambda text, path: DOTS) == hidden
    # The same places are found when the secrets are replaced.
    assert signature.secrets.replace(hidden, lambda text, path: DOTS) == hidden
    signature.parse_json(json.dumps(given))


def test_the_schema_says_that_it_is_a_password() -> None:
    schema = Signature(optional).input_schema["properties"]["secret"]
    assert schema["anyOf"][0] == {"type": "string", "format": "password", "writeOnly": True}


def test_a_type_without_secrets_has_no_places() -> None:
    def plain_text(
        password: Annotated[str, Field(json_schema_extra={"format": "password"})],
    ) -> None: ...

    assert Signature(plain_text).secrets is None


def as_a_key(secrets: dict[Text, int]) -> None: ...
def in_json_in_a_text(account: Json[Account]) -> None: ...
def with_a_default(secret: Text = "s3cret") -> None: ...
def with_an_example(secret: Annotated[str, Secret, Field(examples=["s3cret"])]) -> None: ...
def in_a_default(account: Account = Account(user="a", password="s3cret")) -> None: ...  # noqa: B008
def in_the_result() -> Account: ...
def around_none(secret: Annotated[str | None, Secret]) -> None: ...
def of_bytes(secret: Annotated[bytes, Secret]) -> None: ...
def behind_a_schema(secret: Annotated[Account, WithJsonSchema({"type": "object"})]) -> None: ...


@pytest.mark.parametrize(
    "handler",
    [
        as_a_key,
        in_json_in_a_text,
        with_a_default,
        with_an_example,
        in_a_default,
        in_the_result,
        around_none,
        of_bytes,
        behind_a_schema,
    ],
)
def test_a_secret_that_cannot_be_hidden_is_refused_where_it_is_written(
    handler: Callable[..., Any],
) -> None:
    with pytest.raises(TypeError, match=rf"{handler.__name__}: .*Secret") as caught:
        Signature(handler)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_an_empty_default_is_no_secret() -> None:
    def handler(secret: Text = "") -> None: ...

    Signature(handler).check({})


def refuse(text: str) -> str:
    raise ValueError(f"{text} is too weak")


def test_an_error_does_not_quote_the_secret() -> None:
    def handler(secret: Annotated[str, Secret, AfterValidator(refuse)], other: int) -> None: ...

    with pytest.raises(InvalidInput) as caught:
        Signature(handler).check({"secret": "hunter22", "other": "x"})
    assert "hunter22" not in str(caught.value)
    assert all("hunter22" not in repr(error) for error in caught.value.field_errors)
    assert {error.path for error in caught.value.field_errors} == {("secret",), ("other",)}


def split(text: Any) -> Any:
    user, _, password = text.partition(":")
    return {"user": user, "password": password}


def test_a_secret_that_the_schema_does_not_show_is_refused_not_kept_in_clear() -> None:
    def handler(account: Annotated[Account, BeforeValidator(split)]) -> None: ...

    with pytest.raises(InvalidInput) as caught:
        Signature(handler).check({"account": "ann:hunter22"})
    assert [error.code for error in caught.value.field_errors] == ["secret_misplaced"]


class Coercing(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)
    pin: Annotated[str, Secret, Field(max_length=6)]


def a_number_as_text(given: Annotated[str, BeforeValidator(str), Secret]) -> None: ...
def a_number_before(given: Annotated[str, Secret, BeforeValidator(str)]) -> None: ...
def in_a_coercing_model(given: Coercing) -> None: ...


@pytest.mark.parametrize(
    ("handler", "given"),
    [
        (a_number_as_text, 12345),
        (a_number_as_text, ["hunter22"]),
        (a_number_before, 12345),
        (in_a_coercing_model, {"pin": 12345}),
    ],
)
def test_what_becomes_a_secret_and_is_no_text_is_refused(
    handler: Callable[..., Any], given: Any
) -> None:
    with pytest.raises(InvalidInput) as caught:
        Signature(handler).check({"given": given})
    assert [error.code for error in caught.value.field_errors] == ["secret_misplaced"]


@pytest.mark.parametrize("sent", [{"a": "b"}, ["a"], 5, 1.5, True, None])
def test_what_is_no_text_is_an_error_of_the_input(sent: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        Signature(plain).check({"secret": sent})
    assert [error.path for error in caught.value.field_errors] == [("secret",)]


def test_a_secret_that_is_trimmed_is_no_other_secret() -> None:
    def handler(
        secret: Annotated[str, StringConstraints(strip_whitespace=True), Secret],
    ) -> None: ...

    Signature(handler).check({"secret": "  hunter22 "})


def test_the_dots_are_no_secret() -> None:
    with pytest.raises(InvalidInput) as caught:
        Signature(in_a_model).check({"account": {"user": "ann", "password": DOTS}})
    (error,) = caught.value.field_errors
    assert (error.path, error.code) == (("account", "password"), "secret_is_dots")


def test_an_input_to_be_completed_has_no_secrets() -> None:
    places = Signature(in_a_model).secrets
    assert places is not None
    assert without({"account": {"user": "ann", "password": "x"}}, places) == {
        "account": {"user": "ann"}
    }
    places = Signature(in_a_list).secrets
    assert places is not None
    assert without({"secrets": ["a", "b"]}, places) == {"secrets": ["", ""]}


def test_numbers_stay_as_they_are_written() -> None:
    def handler(secret: Text, number: float) -> None: ...

    places = Signature(handler).secrets
    assert places is not None
    text = '{"number":1.10e+2,"secret":"a\\u2028é"}'
    assert places.rewrite(text, lambda secret, path: secret[::-1]) == (
        '{"number":1.10e+2,"secret":"é\u2028a"}'
    )
