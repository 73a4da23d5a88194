"""The OpenAPI 3.1 document: drf-spectacular walks the views, pydantic describes the bodies."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from django.apps import apps
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.settings import SPECTACULAR_DEFAULTS
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from pydantic import BaseModel

from taskyard import __version__
from taskyard.api import for_clients, schemas
from taskyard.api.errors import PROBLEM
from taskyard.api.forms import Multipart, UrlEncoded
from taskyard.api.json import MEDIA_TYPE
from taskyard.catalog.task_type import TaskType, registry
from taskyard.core.types import LARGEST_ID

View = TypeVar("View", bound=Callable[..., Any])

SETTINGS: dict[str, Any] = {
    # A project's own document has its own settings.
    **{
        name: default
        for name, default in SPECTACULAR_DEFAULTS.items()
        if name != "DEFAULT_GENERATOR_CLASS" and not name.startswith("SERVE_")
    },
    "TITLE": "Taskyard",
    "VERSION": __version__,
    "DESCRIPTION": "Typed, durable, long-running tasks.",
    "OAS_VERSION": "3.1.0",
    "POSTPROCESSING_HOOKS": [],
    "CONTACT": {"name": "Taskyard"},
    "LICENSE": {"name": "MIT", "identifier": "MIT"},
    "SERVERS": [{"url": "/", "description": "This server"}],
    "TAGS": [
        {"name": "register", "description": "Making a user"},
        {"name": "token", "description": "Logging in and out"},
        {"name": "password", "description": "Resetting a forgotten password"},
        {"name": "me", "description": "The own profile"},
        {"name": "keys", "description": "The own API keys, for programs"},
        {"name": "subjects", "description": "On whose behalf a service account submits"},
        {"name": "limits", "description": "The quota of active tasks"},
        {"name": "task-types", "description": "What can be run"},
        {"name": "tasks", "description": "Submitting, watching and ending the own tasks"},
        {"name": "files", "description": "What tasks use and save"},
        {"name": "shared", "description": "What a link to a task shows, without a user"},
        {"name": "queues", "description": "Pausing and resuming, for staff"},
    ],
}
# A typed client cannot read a response with only some fields of a task.
UNDOCUMENTED = ("fields",)
SCHEMAS = "#/components/schemas/"
# The tags of the addresses that take On-Behalf-Of.
OF_SUBJECTS = {"tasks", "files", "limits"}
OWN_IDS = {"task_id": "The id of an own task", "key_id": "The id of an own API key"}
DESCRIPTIONS = {
    200: "The answer",
    201: "It has been made",
    202: "It is accepted: the running task has been asked to stop, or a mail is on its way",
    204: "There is no content",
    206: "A part of it",
    302: "The file is at this address of S3",
    304: "Nothing has changed since this ETag",
    400: "The request is not valid; the answer names each place that is wrong",
    401: "The token or key is missing, not valid or no longer valid",
    403: "The API key lacks the scope, only staff may do this, or it is switched off here",
    404: "There is no such object, or it belongs to another user",
    406: "Streams need the ASGI server",
    412: "It has changed since the ETag in If-Match",
    409: "The state of the task or the file does not allow it",
    410: "The upload was deleted, or took too long; or the bytes of the file are lost",
    413: "The body is too large",
    415: "The body is not JSON in UTF-8",
    416: "The file has none of the bytes of the range",
    422: "The Idempotency-Key was used with another request",
    429: "Too many requests; Retry-After says how long to wait",
    503: "The database or the storage is not available; Retry-After says how long to wait",
    507: "The space for the owner's tasks or files is used up",
}


def header(name: str, schema: Any, description: str, *, of: Sequence[int] = ()) -> OpenApiParameter:
    """A header of the request or, with ``of``, of the responses with these statuses."""
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
NAME = OpenApiParameter("name", str, description="The name of the file")
REPR_DIGEST = header(
    "Repr-Digest", str, "`sha-256=:…:` in Base64 (RFC 9530): refuse the file if it differs"
)
RANGE = header("Range", str, "`bytes=FIRST-LAST`: answer 206 with one part of the file")
IF_RANGE = header("If-Range", str, "An ETag: ignore Range if the file has another")
FILE_ETAG = header("ETag", str, "The SHA-256 of the file", of=(200, 206, 304))
UPLOAD_COMPLETE = header(
    "Upload-Complete",
    {"type": "string", "enum": ["?0", "?1"]},
    "`?1`: the body ends the file. `?0`: more follows",
)
UPLOAD_LENGTH = header("Upload-Length", int, "Bytes of the whole file; needed with `?0`")
UPLOAD_OFFSET = header("Upload-Offset", int, "Where the body begins in the file")
LAST_EVENT_ID = header(
    "Last-Event-ID", str, "The id of the last event that was read: what changed since comes first"
)


class ShareScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How drf-spectacular describes the tokens of links."""

    target_class = "taskyard.api.views.share.ShareAuthentication"
    name = "share"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "The token of a link"}


def settings_for(root: str) -> dict[str, Any]:
    """The settings of drf-spectacular for a document of the views below ``root``."""
    return {**SETTINGS, "SCHEMA_PATH_PREFIX": re.escape(root.removesuffix("/"))}


def preference_applied(*of: int) -> OpenApiParameter:
    return header(
        "Preference-Applied",
        {"type": "string", "pattern": "^wait=[0-9]+$"},
        "The wait granted",
        of=of,
    )


def documented(
    summary: str,
    request: type[BaseModel] | None,
    answers: dict[int, Any],
    refusals: Sequence[int] = (),
    *,
    parameters: Sequence[OpenApiParameter] = (),
    operation_id: str | None = None,
    media_type: str = MEDIA_TYPE,
    body: Mapping[str, Any] | None = None,
) -> Callable[[View], View]:
    """Describe a view's method, and add the responses that all views have.

    ``body`` has the schemas of a request's body that is no JSON, by media type.
    """

    def decorate(method: View) -> View:
        error_statuses = {*refusals, 503} | ({413, 415} if request else set())
        responses: dict[Any, Any] = {}
        for status, answer in answers.items():
            if answer:
                responses[status, media_type] = OpenApiResponse(
                    answer, description=DESCRIPTIONS[status]
                )
            else:
                responses[status] = OpenApiResponse(description=DESCRIPTIONS[status])
        for status in sorted(error_statuses):
            description = DESCRIPTIONS[status]
            responses[status, MEDIA_TYPE] = OpenApiResponse(
                schemas.ErrorAnswer, description=description
            )
            responses[status, PROBLEM] = OpenApiResponse(
                schemas.ProblemAnswer, description=description
            )
        method.kwargs = {"schema": AutoSchema}  # type: ignore[attr-defined]  # drf-spectacular's mark
        return extend_schema(
            operation_id=operation_id,
            summary=summary,
            description=inspect.getdoc(method),
            request=dict.fromkeys(_media_types(request), request) if request else body,
            responses=responses,
            parameters=[*parameters, RETRY_AFTER],
        )(method)

    return decorate


def _media_types(request: type[BaseModel]) -> tuple[str, ...]:
    is_open = issubclass(request, schemas.Open)
    return (MEDIA_TYPE, UrlEncoded.media_type, Multipart.media_type) if is_open else (MEDIA_TYPE,)


def parameters_of(model: type[BaseModel]) -> list[OpenApiParameter]:
    """The query parameters that a model describes."""
    properties = model.model_json_schema()["properties"]
    return [
        OpenApiParameter(
            name,
            {key: value for key, value in schema.items() if key not in ("title", "description")},
            description=schema.get("description", ""),
            explode=True if schema.get("type") == "array" else None,
        )
        for name, schema in properties.items()
        if name not in UNDOCUMENTED
    ]


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add the inputs of the registered task types, and rewrite the schemas for generators."""
    schemas = document["components"]["schemas"]
    schemas["Bulk"]["properties"]["tasks"]["items"] = {"$ref": f"{SCHEMAS}TaskCreate"}
    if task_types := registry.public():
        _discriminate(schemas, task_types)
    for name, schema in schemas.items():
        schemas[name] = for_clients.rewrite_schema(schema)
    operations = (operation for path in document["paths"].values() for operation in path.values())
    used: set[str] = set()
    has_accounts = apps.is_installed("taskyard.accounts")
    for operation in operations:
        used.update(operation["tags"])
        if operation.get("security"):
            operation["responses"]["401"] = _refused(401)
            operation["responses"].setdefault("403", _refused(403))
            if has_accounts and {*operation["tags"]} & OF_SUBJECTS:
                operation.setdefault("parameters", []).append(dict(_ON_BEHALF_OF))
        if parameters := operation.get("parameters"):
            operation["parameters"] = [_rewrite_parameter(parameter) for parameter in parameters]
        for response in operation["responses"].values():
            for header in response.get("headers", {}).values():
                header["schema"] = for_clients.rewrite_schema(header["schema"])
    document["tags"] = [tag for tag in document["tags"] if tag["name"] in used]
    return document


def _rewrite_parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    if parameter["name"] in OWN_IDS:
        parameter["schema"] = {"type": "integer", "minimum": 0, "maximum": LARGEST_ID}
        parameter["description"] = OWN_IDS[parameter["name"]]
    rewritten = for_clients.rewrite_parameter(parameter)
    # An empty value is treated like an absent parameter.
    return {**rewritten, "allowEmptyValue": True} if rewritten["in"] == "query" else rewritten


def _discriminate(schemas: dict[str, Any], task_types: Sequence[TaskType]) -> None:
    """Replace the schema of a create by one for each task type; ``task_type`` discriminates."""
    common = schemas["TaskCreate"]
    mapping = {}
    for task_type in task_types:
        name = "".join(part.capitalize() for part in re.split("[-_]", task_type.name))
        while f"Create{name}" in schemas:  # both "word-count" and "word_count" may be registered
            name += "_"
        properties = {
            **common["properties"],
            "task_type": {"type": "string", "const": task_type.name, "title": "Task Type"},
            "input_data": {
                "$ref": _add_with_definitions(schemas, f"{name}Input", task_type.input_schema)
            },
        }
        create = {**common, "title": f"Create{name}", "properties": properties}
        mapping[task_type.name] = _add(schemas, f"Create{name}", create)
    schemas["TaskCreate"] = {
        "title": "TaskCreate",
        "description": "One of the known task types, with its input",
        "oneOf": [{"$ref": reference} for reference in mapping.values()],
        "discriminator": {"propertyName": "task_type", "mapping": mapping},
    }


def _add_with_definitions(schemas: dict[str, Any], name: str, schema: dict[str, Any]) -> str:
    """Add a schema and its ``$defs`` to the document's; returns the reference to it."""
    definitions = schema.get("$defs", {})
    references = {
        f"#/$defs/{definition_name}": f"{SCHEMAS}{_component_name(name + definition_name)}"
        for definition_name in definitions
    }
    for definition_name, definition in definitions.items():
        component_name = _component_name(name + definition_name)
        _add(schemas, component_name, _replace_references(definition, references))
    own = {key: value for key, value in schema.items() if key not in ("$schema", "$defs")}
    return _add(schemas, name, _replace_references(own, references))


def _replace_references(schema: Any, references: dict[str, str]) -> Any:
    """The schema with new references for those in ``references``."""
    match schema:
        case {"$ref": str(target)} if target in references:
            return {**schema, "$ref": references[target]}
        case dict():
            return {key: _replace_references(value, references) for key, value in schema.items()}
        case list():
            return [_replace_references(item, references) for item in schema]
    return references.get(schema, schema) if isinstance(schema, str) else schema


def _add(schemas: dict[str, Any], name: str, schema: dict[str, Any]) -> str:
    """Add a schema to the document's; returns the reference to it."""
    schemas[name] = schema
    return f"{SCHEMAS}{name}"


def _component_name(name: str) -> str:
    """The name without the characters that OpenAPI does not allow."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


_ON_BEHALF_OF = {
    "name": "On-Behalf-Of",
    "in": "header",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:@+=~|-]{1,100}$"},
    "description": "The subject whose tasks these are; for the key of a service account alone",
}


def _refused(status: int) -> dict[str, Any]:
    """The response to a request whose token or key is not enough."""
    return {
        "description": DESCRIPTIONS[status],
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": f"{SCHEMAS}ErrorAnswer"}},
            PROBLEM: {"schema": {"$ref": f"{SCHEMAS}ProblemAnswer"}},
        },
    }
