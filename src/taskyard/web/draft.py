"""The form of a new task: what the user typed, and the API request that it stands for."""

import csv
import dataclasses
import json
import pprint
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Self

from django.http import QueryDict

from taskyard.catalog.schema import FieldError, InvalidInput, Path
from taskyard.catalog.task_type import TaskType
from taskyard.core import encryption, intake, messages, strict_json
from taskyard.core.models import Task
from taskyard.core.states import Priority
from taskyard.core.types import NewTask
from taskyard.web import schema_form
from taskyard.web.fields import ABSENT, Field, build_fields, row_count

# Fields of the task itself. The names of input fields begin with a slash.
OPTIONS = ("priority", "run_at", "zone", "tags", "max_attempts", "timeout")
RAW = "raw"
CURL = """curl -X POST {url} \\
  -H "Authorization: {authorization}" \\
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
        "Authorization": {authorization},
        "Content-Type": "application/json",
    }},
)
with urllib.request.urlopen(request) as answer:
    print(json.load(answer))"""


@dataclasses.dataclass
class Draft:
    """The contents of the form.

    ``typed`` is the text of each field by its name. If ``as_json`` is true, the input is one field
    with JSON. ``as_lines`` names the lists that are edited as text with one value per line, and
    ``focus`` is the HTML id of the field that was added last.
    """

    task_type: TaskType
    typed: dict[str, str] = dataclasses.field(default_factory=dict)
    as_json: bool = False
    as_lines: set[str] = dataclasses.field(default_factory=set)
    focus: str = ""

    def __post_init__(self) -> None:
        schema = self.task_type.input_schema
        self.fields = build_fields(schema, translate=messages.is_builtin(self.task_type))
        if not self.fields and schema.get("properties"):
            self.as_json = True

    @classmethod
    def blank(cls, task_type: TaskType) -> Self:
        """The form with the defaults of the task type."""
        draft = cls(task_type)
        draft.typed = {"priority": task_type.priority, **schema_form.form_texts(draft.fields, {})}
        return draft

    @classmethod
    def from_task(cls, task_type: TaskType, task: Task) -> Self:
        """The form filled in from a task; the input is JSON if the fields cannot express it."""
        draft = cls(task_type)
        draft.typed = {
            "priority": Priority.nearest(task.priority).name.lower(),
            "tags": _join_tags(task.tags),
            "max_attempts": str(task.max_attempts),
            "timeout": _number_text(task.timeout_seconds),
        }
        # The secrets are entered again; an input that was deleted is entered again as a whole.
        kept = {} if task.input_data is None else task.input_data
        draft._fill(encryption.to_complete(task_type, kept))
        return draft

    @classmethod
    def from_post(cls, task_type: TaskType, post: QueryDict) -> Self:
        """The form as the browser sent it."""
        draft = cls(task_type, as_json=post.get("as") == "json")
        draft.as_lines = set(map(str, post.getlist("lines")))
        # The fields of a list's values share one name.
        draft.typed = {
            name: "\n".join(map(str, post.getlist(name))).replace("\r\n", "\n")
            for name in post
            if name.startswith("/") or name in (RAW, *OPTIONS)
        }
        draft.typed["zone"] = draft.typed.get("zone", "").strip()
        for field in draft.file_fields():
            draft._choose_files(field)
        return draft

    def all_fields(self) -> Iterator[Field]:
        """All fields of the form, with those of the rows that it has now."""
        for field in self.fields:
            yield from field.walk(self.typed)

    def file_fields(self) -> list[Field]:
        """The fields that take files."""
        return [field for field in self.all_fields() if field.takes_files]

    def add_file(self, field: Field, file_id: int) -> None:
        """Choose a file; in a field for one file, instead of that which is chosen."""
        self.typed[field.name] = f"{self.typed.get(field.name, '')}\n{file_id}"
        self._choose_files(field)

    def _choose_files(self, field: Field) -> None:
        """Drop the empty choices of the field, and all but the last if it takes one file."""
        chosen = schema_form.non_empty_lines(self.typed.get(field.name, ""))
        self.typed[field.name] = "\n".join(chosen if field.kind == "list" else chosen[-1:])

    def change_rows(self, action: str) -> None:
        """Apply the action of a button to a list, such as ``add /list`` or ``remove /list 2``.

        ``lines /list`` edits the values as text, ``rows /list`` one by one. Unknown actions are
        ignored.
        """
        verb, _, name = action.partition(" ")
        name, _, number = name.rpartition(" ") if verb == "remove" else (name, "", "")
        field = next((each for each in self.all_fields() if each.name == name), None)
        if field is None or not (field.kind in ("list", "rows") or field.takes_files):
            return
        if verb in ("lines", "rows"):
            (self.as_lines.add if verb == "lines" else self.as_lines.discard)(name)
        elif verb == "add" and not field.takes_files:
            self._add_row(field)
        elif number.isascii() and number.isdecimal() and len(number) < 6:
            self._remove_row(field, int(number))

    def _add_row(self, field: Field) -> None:
        text, count = self.typed.get(field.name, ""), row_count(field, self.typed)
        if field.kind == "list":
            self.typed[field.name] = f"{text}\n"
            self.focus = f"{field.id}-{text.count(chr(10)) + 2}"
        elif count < schema_form.MAX_ROWS:
            self.typed[field.name] = "\n".join(map(str, range(count + 1)))
            self.typed |= schema_form.field_texts(field.row(count), ABSENT)
            self.focus = next((child.id for child in field.row(count).fields), "")

    def _remove_row(self, field: Field, index: int) -> None:
        lines = self.typed.get(field.name, "").split("\n")
        if index >= len(lines):
            return
        del lines[index]
        if field.kind != "rows":
            self.typed[field.name] = "\n".join(lines)
            return
        self.typed[field.name] = "\n".join(map(str, range(len(lines))))
        # Move the fields of each later row to the row before it.
        for row in range(index, len(lines) + 1):
            old, new = f"{field.name}/{row + 1}/", f"{field.name}/{row}/"
            for name in [name for name in self.typed if name.startswith(new)]:
                del self.typed[name]
            for name in [name for name in self.typed if name.startswith(old)]:
                self.typed[new + name.removeprefix(old)] = self.typed.pop(name)

    def switch_mode(self, *, to_json: bool) -> None:
        """Convert the input to JSON, or to fields. Raises InvalidInput."""
        data = encryption.to_complete(self.task_type, self.input_data())
        if to_json:
            self.typed[RAW], self.as_json = schema_form.pretty_json(data), True
        else:
            self._fill(data)
            if self.as_json:
                message = "The fields cannot say this exactly."
                raise InvalidInput([FieldError(("input_data",), "not_for_fields", message)])

    def input_data(self) -> Any:
        """Parse the input. Raises InvalidInput, with paths that begin with ``input_data``."""
        try:
            if not self.as_json:
                return schema_form.parse(self.fields, self.typed)
            return strict_json.loads(self.typed.get(RAW, "").encode())
        except strict_json.InvalidJson as error:
            field_error = FieldError(("input_data",), "json_unreadable", str(error.message))
            raise InvalidInput([field_error]) from None
        except InvalidInput as error:
            raise InvalidInput(intake.prefix_errors(("input_data",), error)) from None

    def body(self) -> dict[str, Any]:
        """The body of the API request. Raises InvalidInput."""
        self._check_size()
        self._check_null_characters()
        self._check_zone()
        data = self.input_data()
        body: dict[str, Any] = {"task_type": self.task_type.name, "input_data": data}
        options = {name: self.typed.get(name, "").strip() for name in OPTIONS}
        if options["priority"] and options["priority"] != self.task_type.priority:
            body["priority"] = options["priority"]
        if options["run_at"]:
            body["run_at"] = schema_form.to_utc(options["run_at"], options["zone"])
        if tags := _split_tags(options["tags"]):
            body["tags"] = tags
        for name in ("max_attempts", "timeout"):
            if options[name] and options[name] != _number_text(getattr(self.task_type, name)):
                if field_error := schema_form.comma_error((name,), options[name]):
                    raise InvalidInput([field_error])
                body[name] = schema_form.parse_number(options[name])
        return body

    def new_task(self) -> NewTask:
        """The task that the API would create from the body. Raises InvalidInput."""
        body = self.body()
        intake.check_size(body)
        try:
            # Encode and parse like the API, so that it rejects the same inputs.
            return intake.parse_task(strict_json.loads(strict_json.dumps(body)))
        except strict_json.InvalidJson as error:
            raise InvalidInput([FieldError((), "json_unreadable", str(error.message))]) from None

    def errors_by_field(self, error: InvalidInput) -> dict[str, list[str]]:
        """The error messages by field name; those of the whole form have the name ""."""
        input_errors = [
            FieldError(
                field_error.path[1:], field_error.code, field_error.message, field_error.context
            )
            for field_error in error.field_errors
            if field_error.path[:1] == ("input_data",)
        ]
        other_errors = [
            field_error
            for field_error in error.field_errors
            if field_error.path[:1] != ("input_data",)
        ]
        fields = () if self.as_json else self.fields
        by_field = schema_form.errors_by_field(fields, input_errors, self.typed)
        if self.as_json and "" in by_field:
            by_field[RAW] = [
                f"{field_error.pointer} {messages.of_field_error(field_error)}".strip()
                for field_error in input_errors
            ]
            del by_field[""]
        for field_error in other_errors:
            name = str(field_error.path[0]) if field_error.path else ""
            text = messages.of_field_error(field_error)
            by_field.setdefault(name if name in OPTIONS else "", []).append(text)
        return by_field

    def _check_size(self) -> None:
        """Raises InvalidInput if the form is larger than an API request may be."""
        if sum(map(len, self.typed.values())) > intake.BODY_LIMIT:
            raise intake.too_large()

    def _check_null_characters(self) -> None:
        """Raises InvalidInput for null characters, which PostgreSQL cannot store."""
        paths: dict[str, Path] = {
            field.name: ("input_data", *field.path) for field in self.all_fields()
        }
        paths[RAW] = ("input_data",)
        message = "Null characters are not allowed."
        field_errors = [
            FieldError(paths.get(name, (name,)), "null_characters_not_allowed", message)
            for name, text in self.typed.items()
            if "\0" in text
        ]
        if field_errors:
            raise InvalidInput(field_errors)

    def _check_zone(self) -> None:
        """Raises InvalidInput if a time needs the form's time zone and the zone is unknown."""
        zone = self.typed.get("zone", "").strip()
        texts = [self.typed.get("run_at", "")]
        for field in () if self.as_json else self.all_fields():
            if "datetime" in (field.kind, field.item.kind if field.item else ""):
                texts += self.typed.get(field.name, "").split("\n")
        if not any(map(schema_form.needs_zone, texts)):
            return
        try:
            schema_form.parse_zone(zone)
        except ValueError:
            message = "This time zone is not known here. Name one like Europe/Moscow, or UTC."
            raise InvalidInput([FieldError(("zone",), "unknown_time_zone", message)]) from None

    def _fill(self, data: Any) -> None:
        if isinstance(data, Mapping):
            self.typed |= schema_form.form_texts(self.fields, data)
        self.as_json = False
        try:
            is_exact = _identical(schema_form.parse(self.fields, self.typed), data)
        except InvalidInput:
            is_exact = False
        if not is_exact:
            self.typed[RAW], self.as_json = schema_form.pretty_json(data), True


def as_curl(url: str, body: dict[str, Any], *, bearer: bool) -> str:
    """The request as a command. Unless ``bearer``, the variable holds the header's whole value."""
    authorization = "Bearer $TASKYARD_TOKEN" if bearer else "$TASKYARD_AUTHORIZATION"
    shown = shlex.quote(schema_form.pretty_json(body))
    return CURL.format(url=url, authorization=authorization, body=shown)


def as_python(url: str, body: dict[str, Any], *, bearer: bool) -> str:
    """The request as a program; ``bearer`` as for ``as_curl``."""
    authorization = (
        '"Bearer " + os.environ["TASKYARD_TOKEN"]'
        if bearer
        else 'os.environ["TASKYARD_AUTHORIZATION"]'
    )
    shown = pprint.pformat(body, sort_dicts=False, width=88)
    return PYTHON.format(url=url, authorization=authorization, body=shown)


def _join_tags(tags: list[str]) -> str:
    """Tags separated by commas; a tag that contains a comma is quoted as in CSV."""
    return ", ".join(
        '"{}"'.format(tag.replace('"', '""')) if re.search('[,"]', tag) else tag
        for tag in map(str, tags)
    )


def _split_tags(text: str) -> list[str]:
    try:
        rows = list(csv.reader(text.splitlines(), skipinitialspace=True))
    except csv.Error:
        return [text]  # the text is too long; validation reports that
    return [tag.strip() for row in rows for tag in row if tag.strip()]


def _number_text(value: Any) -> str:
    return "" if value is None else repr(value).removesuffix(".0")


def _identical(one: Any, other: Any) -> bool:
    """Compare values and types: 1, 1.0 and true differ."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
