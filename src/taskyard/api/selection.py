"""Which parts of a task an answer has: ``fields=``, and what a list leaves out by itself."""

from collections.abc import Iterable
from typing import Any, Literal, get_args

from django.db.models import BooleanField, Case, ExpressionWrapper, F, Q, When
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
    "cancel_requested_at", "retry_of", "tags",
]  # fmt: skip
NAMES: tuple[str, ...] = get_args(Name)
# Characters of JSON that an input or a result may have in a list.
SHORT = 16 * 1024
LARGE = ("input_data", "result")


def chosen(parameters: QueryDict) -> list[str]:
    """The names in ``fields``; none means all. Raises InvalidInput."""
    given = [name.strip() for each in parameters.getlist("fields") for name in str(each).split(",")]
    names = [name for name in given if name]
    if not {*names} <= {*NAMES}:
        expected = ", ".join(f"'{name}'" for name in NAMES)
        raise InvalidInput([FieldError(("fields",), "literal_error", "", {"expected": expected})])
    return names


def part(task: Task, names: Iterable[str]) -> dict[str, Any]:
    """A task as it is answered, with these parts only; without names with all."""
    whole = serialize_task(task)
    return {name: whole[name] for name in NAMES if name in names} if names else whole


def written(task: Task, query: bytes) -> bytes:
    """A task as an event's data; ``query`` is what stands in the address."""
    return dumps(part(task, chosen(QueryDict(query)) if b"fields" in query else ()))


def for_list(tasks: TaskQuerySet, names: Iterable[str]) -> TaskQuerySet:
    """The tasks without reading what a list does not show."""
    tasks = tasks.defer("checkpoint", "input_data", "result")
    if names:
        kept: dict[str, Any] = {name: F(name) for name in LARGE if name in names}
    else:
        tasks = tasks.alias(**{f"length_of_{name}": Length(name) for name in LARGE})
        kept = {name: Case(When(_short(name), then=F(name))) for name in LARGE}
        tasks = tasks.annotate(left_out=_long("result"))
    return tasks.annotate(
        **{f"kept_{name}": ExpressionWrapper(value, JsonText()) for name, value in kept.items()}
    )


def listed(task: Task, names: Iterable[str]) -> dict[str, Any]:
    """A task of ``for_list``; what was too long for a list is named in ``omitted``."""
    task.result = getattr(task, "kept_result", None)
    task.input_data = getattr(task, "kept_input_data", None)
    if names:
        return part(task, names)
    omitted = ["input_data"] if task.input_data is None else []
    omitted += ["result"] if getattr(task, "left_out", False) else []
    if "input_data" in omitted:
        task.input_data = {}
    return {**serialize_task(task), "omitted": omitted} if omitted else serialize_task(task)


def _short(name: str) -> Q:
    return Q(**{f"length_of_{name}__lte": SHORT})


def _long(name: str) -> Any:
    return ExpressionWrapper(Q(**{f"length_of_{name}__gt": SHORT}), BooleanField())
