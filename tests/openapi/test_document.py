"""docs/openapi.json equals the served document, is clean for linters and works for generators."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from taskyard import task_type
from taskyard.api import openapi
from taskyard.api.views.openapi import generate
from taskyard.catalog import task_type as catalog
from taskyard.catalog.task_type import Registry, registry
from tests.npm import installed, run_node
from tools.openapi import FILE, written

HERE = Path(__file__).parent
BUILT_IN = ("countdown", "sum")


def served(*names: str) -> dict[str, Any]:
    """The document that a server with only these task types serves."""
    chosen = Registry()
    for name in names:
        chosen.add(registry.get(name))
    return document_of(chosen)


def document_of(chosen: Registry) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openapi, "registry", chosen)
        document = generate("/", "api/")
    plain: dict[str, Any] = json.loads(json.dumps(document, default=str))
    return plain


def test_the_file_is_what_is_served() -> None:
    assert FILE.read_text() == written(served(*BUILT_IN)), "run python tools/openapi.py"


def test_a_linter_finds_nothing() -> None:
    spectral = installed(HERE) / "@stoplight/spectral-cli/dist/index.js"
    options = ["lint", str(FILE), "--ruleset", str(HERE / "rules.yaml"), "--fail-severity", "hint"]
    printed = run_node([str(spectral), *options], dict(os.environ), cwd=HERE)
    assert "No results" in printed


def test_the_linter_sees_something(tmp_path: Path) -> None:
    document = served(*BUILT_IN)
    del document["paths"]["/api/tasks/"]["get"]["operationId"]
    document["components"]["schemas"]["Bulk"]["properties"]["tasks"]["items"]["$ref"] += "s"
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(document))
    spectral = installed(HERE) / "@stoplight/spectral-cli/dist/index.js"
    options = ["lint", str(wrong), "--ruleset", str(HERE / "rules.yaml")]
    printed = run_node([str(spectral), *options], dict(os.environ), cwd=HERE, fails=True)
    assert "operation-operationId" in printed
    assert "invalid-ref" in printed


def test_every_error_of_every_operation_is_described() -> None:
    for path, operations in served(*BUILT_IN)["paths"].items():
        for method, operation in operations.items():
            answers = operation["responses"]
            assert "503" in answers, path
            assert ("401" in answers) or not operation.get("security"), path
            for status, answer in answers.items():
                if status >= "400":
                    assert answer["description"]
                    assert set(answer["content"]) == {
                        "application/json",
                        "application/problem+json",
                    }
                if status in ("429", "503"):
                    assert "Retry-After" in answer["headers"], (method, path)


def test_every_operation_has_words_of_its_own_for_users() -> None:
    said = []
    for operations in served(*BUILT_IN)["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            said.append(operation.get("description", ""))
            assert len(said[-1]) > 20
            assert "``" not in said[-1]
    # The address of the list accepts a create too.
    assert len(said) - len({*said}) == 1


def _schemas(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a document that may be a schema."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _schemas(each)
    if isinstance(value, list):
        for each in value:
            yield from _schemas(each)


def test_numbers_are_as_wide_as_ours_and_optional_means_optional(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalog, "registry", Registry())

    @task_type("takes-defaults")
    def takes_defaults(
        text: str, times: int = 3, default: float = 0.5, tags: list[str] | None = None
    ) -> None:
        """Has parameters that may be left out."""

    document = document_of(catalog.registry)
    for each in _schemas(document):
        if each.get("type") in ("integer", "number"):
            assert each["format"] == {"integer": "int64", "number": "double"}[each["type"]], each
    for each in _schemas(document["components"]["schemas"]):
        assert "default" not in each or isinstance(each["default"], dict), each
    given = document["components"]["schemas"]["TakesDefaultsInput"]
    assert set(given["required"]) == {"text"}
    assert "Default: `3`" in given["properties"]["times"]["description"]
    assert "default" in given["properties"]  # a parameter of that name stays


def test_ids_are_integers_on_both_sides() -> None:
    document = served(*BUILT_IN)
    ids = [
        parameter["schema"]
        for operations in document["paths"].values()
        for operation in operations.values()
        for parameter in operation.get("parameters", ())
        if parameter["name"] == "task_id"
    ]
    assert len(ids) == 8
    assert {(each["type"], each["format"]) for each in ids} == {("integer", "int64")}
    answered = document["components"]["schemas"]["TaskAnswer"]["properties"]["id"]
    assert (answered["type"], answered["format"]) == ("integer", "int64")


def _create_admits(document: dict[str, Any], body: Any) -> bool:
    schema = {**document, "$ref": "#/components/schemas/TaskCreate"}
    return bool(Draft202012Validator(schema).is_valid(body))


def test_a_create_admits_each_types_input_and_no_others() -> None:
    document = served(*BUILT_IN)
    for good in (
        {"task_type": "sum", "input_data": {"numbers": [1, 2.5]}, "tags": ["a"], "delay": 1},
        {"task_type": "countdown", "input_data": {"seconds": 5}, "priority": "low"},
    ):
        assert _create_admits(document, good)
    for bad in (
        {"task_type": "sum", "input_data": {"seconds": 5}},
        {"task_type": "countdown", "input_data": {"numbers": [1]}},
        {"task_type": "sum", "input_data": {"numbers": []}},
        {"task_type": "sum", "input_data": {"numbers": [1]}, "more": 1},
        {"task_type": "nonsense", "input_data": {}},
        {"input_data": {"seconds": 5}},
    ):
        assert not _create_admits(document, bad), bad


def test_types_with_models_inside_and_names_alike_stay_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tests.openapi.shown import Other, Place

    monkeypatch.setattr(catalog, "registry", Registry())

    @task_type("go-to")
    def first(place: Place, others: list[Place]) -> None:
        """Go."""

    @task_type("go_to")
    def second(times: int, place: Other) -> None:
        """Go again."""

    document = document_of(catalog.registry)
    mapping = document["components"]["schemas"]["TaskCreate"]["discriminator"]["mapping"]
    assert set(mapping) == {"go-to", "go_to"}
    assert len(set(mapping.values())) == 2
    place = {"name": "x", "inside": {"name": "y", "inside": None}}
    good = {"task_type": "go-to", "input_data": {"place": place, "others": [place]}}
    assert _create_admits(document, good)
    place["inside"] = {"name": 1}
    assert not _create_admits(document, good)
    assert _create_admits(
        document, {"task_type": "go_to", "input_data": {"times": 2, "place": {"n": 1}}}
    )
    assert "$defs" not in json.dumps(document)
