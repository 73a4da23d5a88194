"""The form of a new task, as it was typed: from it the request that the API would be sent."""

import csv
import json
import pprint
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from django.http import QueryDict

from taskyard.catalog.schema import FieldError, InvalidInput, Path
from taskyard.catalog.task_type import TaskType
from taskyard.core import intake, messages, strict_json
from taskyard.core.models import Task
from taskyard.core.states import Priority
from taskyard.core.types import NewTask
from taskyard.web import schema_form
from taskyard.web.fields import ABSENT, Field, fields_of, row_count

# What is typed for the task itself. An author's parameters are called otherwise: they begin
# with a slash.
OPTIONS = ("priority", "run_at", "zone", "tags", "max_attempts", "timeout")
RAW = "raw"
CURL = """curl -X POST {url} \\
  -H "Authorization: Bearer $TASKYARD_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d {body}"""
PYTHON = """import json
import os
import urllib.request

task = {body}
request = urllib.request.Request(
    {url!r},
    data=json.dumps(task).encode(),
    headers={{
        "Authorization": "Bearer " + os.environ["TASKYARD_TOKEN"],
        "Content-Type": "application/json",
    }},
)
with urllib.request.urlopen(request) as answer:
    print(json.load(answer))"""


@dataclass
class Draft:
    """What stands in the form, field by field; ``as_json``: the input is one text of JSON.

    ``as_lines`` names the lists that are written as text with one value a line, and ``focus`` the
    field that was added last.
    """

    task_type: TaskType
    typed: dict[str, str] = field(default_factory=dict)
    as_json: bool = False
    as_lines: set[str] = field(default_factory=set)
    focus: str = ""

    def __post_init__(self) -> None:
        schema = self.task_type.input_schema
        self.fields = fields_of(schema, ours=messages.is_builtin(self.task_type))
        if not self.fields and schema.get("properties"):
            self.as_json = True

    @classmethod
    def blank(cls, task_type: TaskType) -> Self:
        draft = cls(task_type)
        draft.typed = {"priority": task_type.priority, **schema_form.written_all(draft.fields, {})}
        return draft

    @classmethod
    def of_task(cls, task_type: TaskType, task: Task) -> Self:
        """The form filled in as that task was; as JSON where fields cannot say it exactly."""
        draft = cls(task_type)
        draft.typed = {
            "priority": Priority.nearest(task.priority).name.lower(),
            "tags": _as_list(task.tags),
            "max_attempts": str(task.max_attempts),
            "timeout": _plain(task.timeout_seconds),
        }
        draft._put(task.input_data)
        return draft

    @classmethod
    def sent(cls, task_type: TaskType, post: QueryDict) -> Self:
        draft = cls(task_type, as_json=post.get("as") == "json")
        draft.as_lines = set(map(str, post.getlist("lines")))
        # A list of values has a field for each of them, all of one name.
        draft.typed = {
            name: "\n".join(map(str, post.getlist(name))).replace("\r\n", "\n")
            for name in post
            if name.startswith("/") or name in (RAW, *OPTIONS)
        }
        draft.typed["zone"] = draft.typed.get("zone", "").strip()
        return draft

    def every(self) -> Iterator[Field]:
        """All fields that the form has now."""
        for each in self.fields:
            yield from each.every(self.typed)

    def change_rows(self, action: str) -> None:
        """``add /list``, ``remove /list 2``, ``lines /list``, ``rows /list``."""
        verb, _, name = action.partition(" ")
        name, _, number = name.rpartition(" ") if verb == "remove" else (name, "", "")
        found = next((each for each in self.every() if each.name == name), None)
        if found is None or found.kind not in ("list", "rows"):
            return
        if verb in ("lines", "rows"):
            (self.as_lines.add if verb == "lines" else self.as_lines.discard)(name)
        elif verb == "add":
            self._add_row(found)
        elif number.isascii() and number.isdecimal() and len(number) < 6:
            self._remove_row(found, int(number))

    def _add_row(self, field: Field) -> None:
        text, count = self.typed.get(field.name, ""), row_count(field, self.typed)
        if field.kind == "list":
            self.typed[field.name] = f"{text}\n"
            self.focus = f"{field.id}-{text.count(chr(10)) + 2}"
        elif count < schema_form.MOST_ROWS:
            self.typed[field.name] = "\n".join(map(str, range(count + 1)))
            self.typed |= schema_form.written(field.row(count), ABSENT)
            self.focus = next((each.id for each in field.row(count).fields), "")

    def _remove_row(self, field: Field, index: int) -> None:
        lines = self.typed.get(field.name, "").split("\n")
        if index >= len(lines):
            return
        del lines[index]
        if field.kind == "list":
            self.typed[field.name] = "\n".join(lines)
            return
        self.typed[field.name] = "\n".join(map(str, range(len(lines))))
        # Those behind it move up by one.
        for place in range(index, len(lines) + 1):
            old, new = f"{field.name}/{place + 1}/", f"{field.name}/{place}/"
            for name in [name for name in self.typed if name.startswith(new)]:
                del self.typed[name]
            for name in [name for name in self.typed if name.startswith(old)]:
                self.typed[new + name.removeprefix(old)] = self.typed.pop(name)

    def switch(self, *, to_json: bool) -> None:
        """The other way to write the input, with what it holds. Raises InvalidInput."""
        data = self.input_data()
        if to_json:
            self.typed[RAW], self.as_json = schema_form.exactly(data), True
        else:
            self._put(data)
            if self.as_json:
                message = "The fields cannot say this exactly."
                raise InvalidInput([FieldError(("input_data",), "not_for_fields", message)])

    def input_data(self) -> Any:
        """Raises InvalidInput, its places within the request."""
        try:
            if not self.as_json:
                return schema_form.read(self.fields, self.typed)
            return strict_json.loads(self.typed.get(RAW, "").encode())
        except strict_json.InvalidJson as error:
            field_error = FieldError(("input_data",), "json_unreadable", str(error.message))
            raise InvalidInput([field_error]) from None
        except InvalidInput as error:
            raise InvalidInput(intake.within(("input_data",), error)) from None

    def body(self) -> dict[str, Any]:
        """The request's body. Raises InvalidInput."""
        self._refuse_too_much()
        self._refuse_null()
        self._refuse_unknown_zone()
        data = self.input_data()
        found: dict[str, Any] = {"task_type": self.task_type.name, "input_data": data}
        options = {name: self.typed.get(name, "").strip() for name in OPTIONS}
        if options["priority"] and options["priority"] != self.task_type.priority:
            found["priority"] = options["priority"]
        if options["run_at"]:
            found["run_at"] = schema_form.moment(options["run_at"], options["zone"])
        if tags := _from_list(options["tags"]):
            found["tags"] = tags
        for name in ("max_attempts", "timeout"):
            if options[name] and options[name] != _plain(getattr(self.task_type, name)):
                if field_error := schema_form.comma_error((name,), options[name]):
                    raise InvalidInput([field_error])
                found[name] = schema_form.number(options[name])
        return found

    def new(self) -> NewTask:
        """Exactly what the API would make of the body. Raises InvalidInput."""
        body = self.body()
        intake.check_size(body)
        try:
            # What the API would not read is not taken here either.
            return intake.one(strict_json.loads(strict_json.dumps(body)))
        except strict_json.InvalidJson as error:
            raise InvalidInput([FieldError((), "json_unreadable", str(error.message))]) from None

    def errors(self, error: InvalidInput) -> dict[str, list[str]]:
        """The texts by the names of the fields they belong to; "" for the form as a whole."""
        of_input = [
            FieldError(
                field_error.path[1:], field_error.code, field_error.message, field_error.context
            )
            for field_error in error.field_errors
            if field_error.path[:1] == ("input_data",)
        ]
        others = [
            field_error
            for field_error in error.field_errors
            if field_error.path[:1] != ("input_data",)
        ]
        found = schema_form.texts(() if self.as_json else self.fields, of_input, self.typed)
        if self.as_json and "" in found:
            found[RAW] = [
                f"{_pointer(field_error)} {messages.of_field_error(field_error)}".strip()
                for field_error in of_input
            ]
            del found[""]
        for field_error in others:
            name = (
                str(field_error.path[0])
                if field_error.path and str(field_error.path[0]) in OPTIONS
                else ""
            )
            found.setdefault(name, []).append(messages.of_field_error(field_error))
        return found

    def _refuse_too_much(self) -> None:
        """Raises InvalidInput for more text than the API would read, before any of it is read."""
        if sum(map(len, self.typed.values())) > intake.BODY_LIMIT:
            raise intake.too_large()

    def _refuse_null(self) -> None:
        """Raises InvalidInput for what no database keeps, at its field."""
        places: dict[str, Path] = {each.name: ("input_data", *each.path) for each in self.every()}
        places[RAW] = ("input_data",)
        message = "Null characters are not allowed."
        field_errors = [
            FieldError(places.get(name, (name,)), "null_characters_not_allowed", message)
            for name, text in self.typed.items()
            if "\0" in text
        ]
        if field_errors:
            raise InvalidInput(field_errors)

    def _refuse_unknown_zone(self) -> None:
        """Raises InvalidInput for a zone that a time was typed in and that nobody here knows."""
        zone = self.typed.get("zone", "").strip()
        texts = [self.typed.get("run_at", "")]
        for each in () if self.as_json else self.every():
            if "datetime" in (each.kind, each.item.kind if each.item else ""):
                texts += self.typed.get(each.name, "").split("\n")
        if not any(map(schema_form.needs_zone, texts)):
            return
        try:
            schema_form.zone_of(zone)
        except ValueError:
            message = "This time zone is not known here. Name one like Europe/Moscow, or UTC."
            raise InvalidInput([FieldError(("zone",), "unknown_time_zone", message)]) from None

    def _put(self, data: Any) -> None:
        if isinstance(data, Mapping):
            self.typed |= schema_form.written_all(self.fields, data)
        self.as_json = False
        try:
            same = _same(schema_form.read(self.fields, self.typed), data)
        except InvalidInput:
            same = False
        if not same:
            self.typed[RAW], self.as_json = schema_form.exactly(data), True


def as_curl(url: str, body: dict[str, Any]) -> str:
    return CURL.format(url=url, body=shlex.quote(schema_form.exactly(body)))


def as_python(url: str, body: dict[str, Any]) -> str:
    return PYTHON.format(url=url, body=pprint.pformat(body, sort_dicts=False, width=88))


def _as_list(tags: list[str]) -> str:
    """With commas between them; what has a comma itself stands in quotation marks."""
    return ", ".join(
        '"{}"'.format(tag.replace('"', '""')) if re.search('[,"]', tag) else tag
        for tag in map(str, tags)
    )


def _from_list(text: str) -> list[str]:
    try:
        rows = list(csv.reader(text.splitlines(), skipinitialspace=True))
    except csv.Error:
        return [text]  # too long for a tag, and told so
    return [tag.strip() for row in rows for tag in row if tag.strip()]


def _plain(value: Any) -> str:
    return "" if value is None else repr(value).removesuffix(".0")


def _pointer(field_error: FieldError) -> str:
    return "".join(f"/{step}" for step in field_error.path)


def _same(one: Any, other: Any) -> bool:
    """Equal to the last digit and kind: 1, 1.0 and true are three things."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
