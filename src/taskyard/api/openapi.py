"""The OpenAPI 3.1 document: drf-spectacular walks the views, pydantic describes the bodies."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from pydantic import BaseModel

from taskyard import __version__
from taskyard.api import shapes
from taskyard.api.errors import PROBLEM
from taskyard.api.json import MEDIA_TYPE
from taskyard.catalog.task_type import TaskType, registry

View = TypeVar("View", bound=Callable[..., Any])

SETTINGS: dict[str, Any] = {
    "TITLE": "Taskyard",
    "VERSION": __version__,
    "DESCRIPTION": "Typed, durable, long-running tasks.",
    "OAS_VERSION": "3.1.0",
    "POSTPROCESSING_HOOKS": [],
}
WORDS = {
    304: "Not changed since",
    400: "The request is wrong, and where",
    401: "No token, or none that is valid",
    404: "There is none, or none of yours",
    413: "The body is too large",
    415: "The body is not JSON in UTF-8",
    429: "Too often; Retry-After says how long to wait",
    503: "The database is away; Retry-After says how long to wait",
}


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "taskyard.accounts.authentication.TokenAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


def documented(
    summary: str,
    request: type[BaseModel] | None,
    answers: dict[int, Any],
    refusals: Sequence[int] = (),
    *,
    parameters: Sequence[OpenApiParameter] = (),
    operation_id: str | None = None,
) -> Callable[[View], View]:
    """Describes a view's method; what every view can answer is added."""

    def decorate(method: View) -> View:
        every = {*refusals, 503} | ({413, 415} if request else set())
        responses: dict[Any, Any] = {
            (status, MEDIA_TYPE): OpenApiResponse(answer, description="")
            if answer
            else OpenApiResponse(description=WORDS[status])
            for status, answer in answers.items()
        }
        for status in sorted(every):
            description = WORDS[status]
            responses[status, MEDIA_TYPE] = OpenApiResponse(
                shapes.ErrorAnswer, description=description
            )
            responses[status, PROBLEM] = OpenApiResponse(
                shapes.ProblemAnswer, description=description
            )
        return extend_schema(
            operation_id=operation_id,
            summary=summary,
            description=inspect.getdoc(method) or "",
            request={MEDIA_TYPE: request} if request else None,
            responses=responses,
            parameters=list(parameters),
        )(method)

    return decorate


def parameters_of(shape: type[BaseModel]) -> list[OpenApiParameter]:
    """The query parameters that a model describes."""
    described = shape.model_json_schema()["properties"]
    return [
        OpenApiParameter(
            name,
            {key: value for key, value in schema.items() if key not in ("title", "description")},
            description=schema.get("description", ""),
            explode=True if schema.get("type") == "array" else None,
        )
        for name, schema in described.items()
    ]


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add what pydantic cannot know: the input of each registered task type."""
    create = document["components"]["schemas"]["TaskCreate"]
    create["oneOf"] = [
        {
            "title": task_type.name,
            "properties": {
                "task_type": {"const": task_type.name},
                # Its own base address: references inside it stay inside it.
                "input_data": {
                    "$id": f"task-types/{task_type.name}/input",
                    **task_type.input_schema,
                },
            },
        }
        for task_type in registry.all()
    ]
    for operation in (each for path in document["paths"].values() for each in path.values()):
        if operation.get("security"):
            operation["responses"]["401"] = _REFUSED_TOKEN
    return document


def _variant(task_type: TaskType) -> dict[str, Any]:
    # A base address of its own: the references inside the schema stay inside it.
    base = {"$id": f"task-types/{task_type.name}/input"}
    return {
        "title": task_type.name,
        "properties": {
            "task_type": {"const": task_type.name},
            "input_data": {**base, **task_type.input_schema},
        },
    }


_REFUSED_TOKEN = {
    "description": WORDS[401],
    "content": {
        MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}},
        PROBLEM: {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}},
    },
}
