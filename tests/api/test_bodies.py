"""Request bodies: no body causes a 5xx, and a refusal never leaves a row."""

from collections.abc import Iterator
from typing import Any

import pytest

from taskyard.api import json as api_json
from taskyard.core.models import Task
from tests.api_client import ApiClient

SUM = b'{"task_type":"sum","input_data":{"numbers":%s}}'


@pytest.fixture(autouse=True)
def no_row_is_left(db: None) -> Iterator[None]:
    yield
    assert not Task.objects.exists()


def submit(api: ApiClient, body: bytes, **options: Any) -> Any:
    return api.ask("POST", "tasks/create/", body, **options)


@pytest.mark.parametrize(
    "numbers",
    [
        b"[1e400]", b"[-1e400]", b"[NaN]", b"[Infinity]", b"[-Infinity]", b"[1e308,1e308]",
        b"[" + b"9" * 5000 + b"]", b"[" + b"9" * 4300 + b"," + b"9" * 4300 + b"]",
        b"[true]", b"[false, 1]", b"[]", b"[" + b"1," * 10_000 + b"1]", b'["1"]', b"[null]",
        b"[[1]]", b"{}", b'"123"', b"1", b"null", b"[9007199254740992]", b"[1.5, {}]",
        b"[" * 100_000 + b"]" * 100_000, b"[" * 70 + b"]" * 70, b'["\\u0000"]', b'["\\ud800"]',
        b"[18446744073709551617]",
    ],
    ids=lambda numbers: numbers[:24].decode(),
)  # fmt: skip
def test_numbers_that_are_no_numbers_are_refused(api: ApiClient, numbers: bytes) -> None:
    refused = submit(api, SUM % numbers)
    assert refused.status_code == 400, refused.content
    assert refused.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "seconds", [b"0", b"-1", b"1.5", b'"5"', b"true", b"1000000000", b"null", b"[]", b"3601"]
)
def test_seconds_that_are_no_seconds_are_refused(api: ApiClient, seconds: bytes) -> None:
    body = b'{"task_type":"countdown","input_data":{"seconds":%s}}' % seconds
    refused = submit(api, body)
    assert refused.status_code == 400
    assert list(refused.json()["input_data"]) == ["seconds"]


@pytest.mark.parametrize(
    "body",
    [b"[1]", b'"x"', b"null", b"1", b"true", b"", b"  ", b"{", b"{}x", b"'a'", b'{"a":1,}'],
    ids=repr,
)
def test_a_body_that_is_no_object_is_refused(api: ApiClient, body: bytes) -> None:
    assert submit(api, body).status_code == 400


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'\xef\xbb\xbf{"task_type":"sum"}', "метки порядка байтов"),
        (b'{"task_type":"\xff"}', "байт 14"),
        (b'{"a":\n nope}', "строка 2, столбец 2"),
        (b'{"a":NaN}', "NaN"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "64"),
        (b'{"a":1,"a":2}', "дважды"),
        (b'{"x":{"a":1,"a":1}}', "дважды"),
    ],
    ids=["bom", "utf-8", "syntax", "nan", "deep", "twice", "twice inside"],
)
def test_what_cannot_be_read_is_refused_with_the_place(
    api: ApiClient, body: bytes, place: str
) -> None:
    refused = submit(api, body)
    assert refused.status_code == 400
    assert refused.json()["code"] == "parse_error"
    assert place in refused.json()["detail"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"task_type":"a\\u0000"}', "/task_type"),
        (b'{"a":{"b":[1,"\\u0000"]}}', "/a/b/1"),
        (b'{"a":{"\\u0000":1}}', "/a"),
        (b'{"a/b":{"~":"\\u0000"}}', "/a~1b/~0"),
        (b'{"a":"\\ud800"}', "/a"),
        (b'{"a":"\\uDC00\\ud83d"}', "/a"),
    ],
)
def test_characters_that_are_none_are_refused_at_their_place(
    api: ApiClient, body: bytes, pointer: str
) -> None:
    refused = submit(api, body, Accept="application/problem+json")
    assert refused.status_code == 400
    assert [error["pointer"] for error in refused.json()["errors"]] == [pointer]


def test_escaped_text_and_surrogate_pairs_are_ordinary_text(api: ApiClient) -> None:
    body = b'{"task_type":"\\u0430\\ud83d\\ude00\\\\u0000","input_data":{}}'
    assert submit(api, body).json() == {"task_type": ["Нет такого типа задачи."]}


@pytest.mark.parametrize(
    "content_type",
    [
        "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
        "text/plain", "text/json", "application/json; charset=utf-16",
        "application/json; charset=latin-1", "application/json;charset=\"cp1251\"", "",
        "application/" + "x" * 5000,
    ],
)  # fmt: skip
def test_anything_but_json_in_utf_8_is_415(api: ApiClient, content_type: str) -> None:
    refused = submit(api, SUM % b"[1]", content_type=content_type)
    assert refused.status_code == 415
    assert refused.json()["code"] == "unsupported_media_type"


def test_a_compressed_body_is_415(api: ApiClient) -> None:
    refused = submit(api, SUM % b"[1]", Content_Encoding="gzip")
    assert refused.status_code == 415


def test_a_body_over_256_kib_is_413(api: ApiClient) -> None:
    million = SUM % (b"[" + b"1," * 999_999 + b"1]")
    refused = submit(api, million)
    assert refused.status_code == 413
    assert refused.json() == {
        "detail": "Тело запроса больше 262144 байт.",
        "code": "too_large",
    }
    assert submit(api, b" " * 262_145).status_code == 413


def test_a_body_of_exactly_the_limit_is_read(api: ApiClient) -> None:
    assert submit(api, (SUM % b"[]").ljust(262_144)).status_code == 400


def test_numbers_arrive_as_they_were_written() -> None:
    value = api_json.loads(b"[9007199254740993, 18446744073709551617, -0.5, 1e2]")
    assert value == [9007199254740993, 18446744073709551617, -0.5, 100.0]


def test_answers_hold_integers_of_any_size_and_text_as_it_is() -> None:
    assert api_json.dumps({"n": 2**70, "t": "ёж"}) == f'{{"n":{2**70},"t":"ёж"}}'.encode()
    assert api_json.dumps({"n": 1, "t": "ёж"}) == '{"n":1,"t":"ёж"}'.encode()


def test_many_flaws_make_a_bounded_answer(api: ApiClient) -> None:
    refused = submit(api, SUM % (b"[" + b'"x",' * 9_999 + b'"x"]'))
    assert refused.status_code == 400
    assert len(refused.json()["input_data"]["numbers"]) == 100
