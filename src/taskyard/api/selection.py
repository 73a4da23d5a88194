"""The fields of a task in a response: ``fields=``, and long values that a list leaves out."""

from collections.abc import Iterable
from typing import Any, Literal, get_args

from django.db.models import (
    BooleanField,
    Case,
    ExpressionWrapper,
    F,
    Q,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Length
from django.http import QueryDict

from taskyard.api.json import dumps
from taskyard.api.serialize import serialize_task
from taskyard.catalog.schema import FieldError, InvalidInput
from taskyard.core.fields import JsonText
from taskyard.core.models import Task
from taskyard.core.querysets import TaskQuerySet

Name = Literal[
    "id", "task_type", "input_data", "status", "result", "created_at", "status_label", "priority",
    "queue", "progress", "attempt", "max_attempts", "error", "run_at", "started_at", "finished_at",
    "cancel_requested_at", "retry_of", "tags", "files", "subject",
]  # fmt: skip
NAMES: tuple[str, ...] = get_args(Name)
# A list leaves out an input or a result with more characters of JSON.
SHORT = 16 * 1024
LARGE = ("input_data", "result")
# In place of an input that is left out: an empty text as JSON.
LONG = Value('""', output_field=TextField())


def parse_fields(parameters: QueryDict) -> list[str]:
    """The names in ``fields``; an empty list means all fields. Raises InvalidInput."""
    texts = [text for value in parameters.getlist("fields") for text in str(value).split(",")]
    names = [name for text in texts if (name := text.strip())]
    if not {*names} <= {*NAMES}:
        expected = ", ".join(f"'{name}'" for name in NAMES)
        raise InvalidInput([FieldError(("fields",), "literal_error", "", {"expected": expected})])
    return names


def serialize_fields(
    task: Task, names: Iterable[str], subject: str | None = None
) -> dict[str, Any]:
    """Serialize these fields of a task; without names all of them."""
    if names and "files" not in names:
        task.has_files = False  # they need not be looked up
    whole = serialize_task(task, subject)
    return {name: whole[name] for name in whole if name in names} if names else whole


def serialize_event(task: Task, query: bytes, subject: str | None = None) -> bytes:
    """The data of an event, with the fields that the query string of the stream names."""
    names = parse_fields(QueryDict(query)) if b"fields" in query else ()
    return dumps(serialize_fields(task, names, subject))


def for_list(tasks: TaskQuerySet, names: Iterable[str]) -> TaskQuerySet:
    """The tasks without the columns and long values that a list does not show."""
    tasks = tasks.defer("checkpoint", "input_data", "result")
    if names:
        columns: dict[str, Any] = {name: F(name) for name in LARGE if name in names}
    else:
        tasks = tasks.alias(**{f"length_of_{name}": Length(name) for name in LARGE})
        columns = {
            # An input is an object, or null if it was deleted.
            "input_data": Case(
                When(_is_short("input_data"), then=F("input_data")),
                default=LONG,
                output_field=JsonText(),
            ),
            "result": Case(When(_is_short("result"), then=F("result"))),
        }
        tasks = tasks.annotate(result_omitted=_is_long("result"))
    return tasks.annotate(
        **{f"short_{name}": ExpressionWrapper(value, JsonText()) for name, value in columns.items()}
    )


def serialize_listed(
    task: Task, names: Iterable[str], subject: str | None = None
) -> dict[str, Any]:
    """Serialize a task of ``for_list``; ``omitted`` names the values that were left out."""
    task.result = getattr(task, "short_result", None)
    task.input_data = getattr(task, "short_input_data", None)
    if names:
        return serialize_fields(task, names, subject)
    omitted = ["input_data"] if task.input_data == "" else []
    omitted += ["result"] if getattr(task, "result_omitted", False) else []
    if "input_data" in omitted:
        task.input_data = {}
    serialized = serialize_task(task, subject)
    return {**serialized, "omitted": omitted} if omitted else serialized


def _is_short(name: str) -> Q:
    return Q(**{f"length_of_{name}__lte": SHORT})


def _is_long(name: str) -> Any:
    return ExpressionWrapper(Q(**{f"length_of_{name}__gt": SHORT}), BooleanField())
