"""The OpenAPI 3.1 document: drf-spectacular walks the views, pydantic describes the bodies."""

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from pydantic import BaseModel

from taskyard import __version__
from taskyard.api import for_clients, schemas
from taskyard.api.errors import PROBLEM
from taskyard.api.forms import Multipart, UrlEncoded
from taskyard.api.json import MEDIA_TYPE
from taskyard.catalog.task_type import TaskType, registry

View = TypeVar("View", bound=Callable[..., Any])

SETTINGS: dict[str, Any] = {
    "TITLE": "Taskyard",
    "VERSION": __version__,
    "DESCRIPTION": "Typed, durable, long-running tasks.",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api",
    "POSTPROCESSING_HOOKS": [],
    "CONTACT": {"name": "Taskyard"},
    "LICENSE": {"name": "MIT", "identifier": "MIT"},
    "SERVERS": [{"url": "/", "description": "This server"}],
    "TAGS": [
        {"name": "register", "description": "Making a user"},
        {"name": "token", "description": "Logging in and out"},
        {"name": "me", "description": "The own profile"},
        {"name": "limits", "description": "The quota of active tasks"},
        {"name": "task-types", "description": "What can be run"},
        {"name": "tasks", "description": "Submitting, watching and ending the own tasks"},
        {"name": "queues", "description": "Pausing and resuming, for staff"},
    ],
}
# An answer with some fields of a task is none that a typed client reads.
UNDESCRIBED = ("fields",)
SCHEMAS = "#/components/schemas/"
WORDS = {
    200: "The answer",
    201: "It has been made",
    202: "The task is running and has been asked to stop",
    204: "There is no content",
    304: "Nothing has changed since this ETag",
    400: "The request is not valid; the answer names each place that is wrong",
    401: "The token is missing, not valid or no longer valid",
    403: "Only staff may do this",
    404: "There is no such object, or it belongs to another user",
    406: "Streams need the ASGI server",
    412: "It has changed since the ETag in If-Match",
    409: "The state of the task does not allow it",
    413: "The body is too large",
    415: "The body is not JSON in UTF-8",
    422: "The Idempotency-Key was used with another request",
    429: "Too many requests; Retry-After says how long to wait",
    503: "The database is not available; Retry-After says how long to wait",
    507: "The space for the owner's tasks is used up",
}


def header(name: str, schema: Any, description: str, *, of: Sequence[int] = ()) -> OpenApiParameter:
    """A header of the request or, with ``of``, of the answers with these statuses."""
    return OpenApiParameter(
        name, schema, OpenApiParameter.HEADER, description=description, response=list(of) or False
    )


RETRY_AFTER = header("Retry-After", int, "Seconds to wait", of=(429, 503))
LOCATION = header("Location", str, "The address of the task", of=(201,))
IDEMPOTENCY = [
    header(
        "Idempotency-Key",
        {"type": "string", "pattern": "^[\\x20-\\x7e]{1,255}$"},
        "Yours for 24 hours. The same request again is answered with the same tasks as they are "
        "now, makes nothing new and takes no further place of the quota",
    ),
    header(
        "Idempotency-Replayed",
        {"type": "string", "const": "true"},
        "The request was a repetition",
        of=(201,),
    ),
]
PREFER = header(
    "Prefer",
    str,
    "`wait=N` (at most 60, which is also a bare `wait`): answer when the task has ended, or after "
    "N seconds. Others are ignored",
)
ETAG = header("ETag", str, "Names this state of the task, in this language", of=(200, 304))
IF_NONE_MATCH = header("If-None-Match", str, "An ETag: answer 304 if nothing has changed")
IF_MATCH = header(
    "If-Match", str, "An ETag: change nothing if it has changed since, and answer 412"
)
LAST_EVENT_ID = header(
    "Last-Event-ID", str, "The id of the last event that was read: what changed since comes first"
)


def preference_applied(*of: int) -> OpenApiParameter:
    return header(
        "Preference-Applied",
        {"type": "string", "pattern": "^wait=[0-9]+$"},
        "The wait granted",
        of=of,
    )


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "taskyard.accounts.authentication.TokenAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


class ClaimScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The same token, proven otherwise: no scheme of its own."""

    target_class = "taskyard.accounts.authentication.ClaimAuthentication"
    name = []

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, Any]]:
        return []

    def get_security_requirement(self, auto_schema: Any) -> dict[str, list[str]]:
        return {BearerScheme.name: []}


def documented(
    summary: str,
    request: type[BaseModel] | None,
    answers: dict[int, Any],
    refusals: Sequence[int] = (),
    *,
    parameters: Sequence[OpenApiParameter] = (),
    operation_id: str | None = None,
    media_type: str = MEDIA_TYPE,
) -> Callable[[View], View]:
    """Describes a view's method; what every view can answer is added."""

    def decorate(method: View) -> View:
        every = {*refusals, 503} | ({413, 415} if request else set())
        responses: dict[Any, Any] = {}
        for status, answer in answers.items():
            if answer:
                responses[status, media_type] = OpenApiResponse(answer, description=WORDS[status])
            else:
                responses[status] = OpenApiResponse(description=WORDS[status])
        for status in sorted(every):
            description = WORDS[status]
            responses[status, MEDIA_TYPE] = OpenApiResponse(
                schemas.ErrorAnswer, description=description
            )
            responses[status, PROBLEM] = OpenApiResponse(
                schemas.ProblemAnswer, description=description
            )
        return extend_schema(
            operation_id=operation_id,
            summary=summary,
            description=inspect.getdoc(method),
            request=dict.fromkeys(_media_types(request), request) if request else None,
            responses=responses,
            parameters=[*parameters, RETRY_AFTER],
        )(method)

    return decorate


def _media_types(request: type[BaseModel]) -> tuple[str, ...]:
    is_open = issubclass(request, schemas.Open)
    return (MEDIA_TYPE, UrlEncoded.media_type, Multipart.media_type) if is_open else (MEDIA_TYPE,)


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
        if name not in UNDESCRIBED
    ]


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add what pydantic cannot know: the input of each registered task type."""
    schemas = document["components"]["schemas"]
    schemas["Bulk"]["properties"]["tasks"]["items"] = {"$ref": f"{SCHEMAS}TaskCreate"}
    if task_types := registry.all():
        _discriminate(schemas, task_types)
    for name, described in schemas.items():
        schemas[name] = for_clients.schema(described)
    for operation in (each for path in document["paths"].values() for each in path.values()):
        if operation.get("security"):
            operation["responses"]["401"] = _REFUSED_TOKEN
        if parameters := operation.get("parameters"):
            operation["parameters"] = [_parameter(each) for each in parameters]
        for answer in operation["responses"].values():
            for header in answer.get("headers", {}).values():
                header["schema"] = for_clients.schema(header["schema"])
    return document


def _parameter(described: dict[str, Any]) -> dict[str, Any]:
    if described["name"] == "task_id":
        described["schema"] = {"type": "integer", "minimum": 0, "maximum": schemas.LARGEST_ID}
        described["description"] = "The id of an own task"
    found = for_clients.parameter(described)
    # An empty value counts as none.
    return {**found, "allowEmptyValue": True} if found["in"] == "query" else found


def _discriminate(schemas: dict[str, Any], task_types: Sequence[TaskType]) -> None:
    """Make a create one of the known types' creates; ``task_type`` says which."""
    common = schemas["TaskCreate"]
    mapping = {}
    for task_type in task_types:
        name = "".join(part.capitalize() for part in re.split("[-_]", task_type.name))
        while f"Create{name}" in schemas:  # "word-count" and "word_count" may both be there
            name += "_"
        properties = {
            **common["properties"],
            "task_type": {"type": "string", "const": task_type.name, "title": "Task Type"},
            "input_data": {"$ref": _hoisted(schemas, f"{name}Input", task_type.input_schema)},
        }
        create = {**common, "title": f"Create{name}", "properties": properties}
        mapping[task_type.name] = _added(schemas, f"Create{name}", create)
    schemas["TaskCreate"] = {
        "title": "TaskCreate",
        "description": "One of the known task types, with its input",
        "oneOf": [{"$ref": reference} for reference in mapping.values()],
        "discriminator": {"propertyName": "task_type", "mapping": mapping},
    }


def _hoisted(schemas: dict[str, Any], name: str, schema: dict[str, Any]) -> str:
    """A schema of its own among the document's, and what it refers to; the reference to it."""
    definitions = schema.get("$defs", {})
    moved = {f"#/$defs/{each}": f"{SCHEMAS}{_usable(name + each)}" for each in definitions}
    for each, definition in definitions.items():
        _added(schemas, _usable(name + each), _referring(definition, moved))
    own = {key: value for key, value in schema.items() if key not in ("$schema", "$defs")}
    return _added(schemas, name, _referring(own, moved))


def _referring(schema: Any, moved: dict[str, str]) -> Any:
    """The schema with its references led to where their targets are now."""
    match schema:
        case {"$ref": str(target)} if target in moved:
            return {**schema, "$ref": moved[target]}
        case dict():
            return {key: _referring(value, moved) for key, value in schema.items()}
        case list():
            return [_referring(each, moved) for each in schema]
    return moved.get(schema, schema) if isinstance(schema, str) else schema


def _added(schemas: dict[str, Any], name: str, schema: dict[str, Any]) -> str:
    schemas[name] = schema
    return f"{SCHEMAS}{name}"


def _usable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


_REFUSED_TOKEN = {
    "description": WORDS[401],
    "content": {
        MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}},
        PROBLEM: {"schema": {"$ref": "#/components/schemas/ProblemAnswer"}},
    },
}
