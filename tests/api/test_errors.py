"""Errors in both forms and both languages; an outage is not reported as a fault."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client, RequestFactory

from taskyard.api import errors
from taskyard.catalog.schema import FieldError, InvalidInput
from taskyard.catalog.task_type import RESULT_TOO_LARGE
from taskyard.core import messages, types
from taskyard.core.errors import Rejected
from tests.api_client import ApiClient

PROBLEM = "application/problem+json"


def test_a_problem_names_each_place_with_a_code(api: ApiClient) -> None:
    refused = api.post(
        "tasks/",
        {"task_type": "countdown", "input_data": {"seconds": 1}, "a/b": 1},
        Accept=PROBLEM,
        Accept_Language="en",
    )
    assert refused.headers["Content-Type"] == PROBLEM
    assert refused.json() == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": "The request is not valid.",
        "code": "invalid",
        "errors": [
            {"pointer": "/a~1b", "code": "extra_forbidden", "detail": "This field is not known."}
        ],
    }


@pytest.mark.parametrize("path", ["tasks/0/", "nope", "me/"])
def test_every_refusal_can_be_a_problem(nobody: ApiClient, api: ApiClient, path: str) -> None:
    api_client = nobody if path == "me/" else api
    refused = api_client.get(path, Accept=f"text/html, {PROBLEM};q=0.5")
    assert refused.headers["Content-Type"] == PROBLEM
    assert list(refused.json()) == ["type", "title", "status", "detail", "code", "errors"]
    assert refused.json()["status"] == refused.status_code
    plain = api_client.get(path, Accept=f"application/json, {PROBLEM};q=0")
    assert plain.headers["Content-Type"] == "application/json"


def test_texts_follow_the_language(api: ApiClient) -> None:
    body = {"task_type": "countdown", "input_data": {"seconds": 0}}
    russian = api.post("tasks/", body).json()
    english = api.post("tasks/", body, Accept_Language="en").json()
    assert russian == {"input_data": {"seconds": ["Значение должно быть не меньше 1."]}}
    assert english == {"input_data": {"seconds": ["The value must be at least 1."]}}


def test_every_refusal_has_a_status_and_words() -> None:
    refusals = [Rejected]
    for kind in refusals:
        refusals += kind.__subclasses__()
    for kind in refusals[1:]:
        assert kind in errors.STATUS_OF_REJECTED
        assert kind.code in messages.MESSAGES


def test_everything_taskyard_says_of_a_failure_is_translated() -> None:
    assert set(messages.FAILURES) == {*types.MESSAGES.values(), RESULT_TOO_LARGE}


def test_flaws_of_a_place_and_inside_it_stand_together() -> None:
    problem = errors.problem_of(
        InvalidInput(
            [
                FieldError(("a",), "own", "whole"),
                FieldError(("a", 0, "b"), "own", "inside"),
                FieldError(("a",), "own", "whole again"),
            ]
        )
    )
    assert problem is not None
    request = RequestFactory().get("/api/")
    data, _content_type = errors._render(problem, request)
    assert data == {"a": {"non_field_errors": ["whole", "whole again"], "0": {"b": ["inside"]}}}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["tasks/", "limits/", "me/"])
def test_a_database_that_is_away_is_a_503(api: ApiClient, path: str, unreachable: Any) -> None:
    with unreachable():
        refused = api.get(path)
    assert refused.status_code == 503, refused.content
    assert refused.headers["Retry-After"] == "5"
    assert refused.json()["code"] == "unavailable"
    assert api.get(path).status_code == 200


def test_a_fault_of_ours_is_a_500_in_json_that_says_nothing(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.api.faulty_urls"
    answer = Client(raise_request_exception=False).get("/api/faulty")
    assert answer.status_code == 500
    assert json.loads(answer.content)["code"] == "error"
    assert b"secret" not in answer.content


def test_an_outage_outside_a_view_of_the_api_is_a_503_too(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.api.faulty_urls"
    client = Client(raise_request_exception=False)
    answer = client.get("/api/away")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert json.loads(answer.content)["code"] == "unavailable"
    page = client.get("/away")
    assert (page.status_code, page.headers["Retry-After"]) == (503, "5")
    assert page.headers["Content-Type"].startswith("text/html")


@pytest.fixture
def unreachable() -> Any:
    """Point the connection to an address without a database within the block."""
    from contextlib import contextmanager

    @contextmanager
    def away() -> Any:
        kept = dict(connection.settings_dict)
        connection.close()
        if connection.vendor == "sqlite":
            connection.settings_dict["NAME"] = "/nowhere/at/all.sqlite3"
        else:
            connection.settings_dict |= {"HOST": "127.0.0.1", "PORT": "1"}
        try:
            yield
        finally:
            connection.close()
            connection.settings_dict.clear()
            connection.settings_dict.update(kept)

    return away


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("ru", "Допустимые значения: 'low', 'normal', 'high'."),
        ("en", "One of these is expected: 'low', 'normal', 'high'."),
    ],
)
def test_choices_are_listed_without_a_word_of_another_language(
    api: ApiClient, language: str, text: str
) -> None:
    body = {"task_type": "sum", "input_data": {"numbers": [1]}, "priority": "urgent"}
    assert api.post("tasks/", body, Accept_Language=language).json() == {"priority": [text]}
    refused = api.get("tasks/?status=x", Accept_Language=language).json()["status"][0]
    assert "'completed', 'error', 'cancelled'." in refused
