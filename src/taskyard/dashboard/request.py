"""The form of a new task, as it was typed: from it the request that the API would be sent."""

import csv
import json
import pprint
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self
from zoneinfo import ZoneInfo

from django.http import QueryDict

from taskyard.catalog.schema import Flaw, InvalidInput, Path
from taskyard.catalog.task_type import TaskType
from taskyard.core import exact_json, intake, messages
from taskyard.core.models import Task
from taskyard.core.states import Priority
from taskyard.core.values import NewTask
from taskyard.dashboard import form

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
    """What stands in the form, field by field; ``as_json``: the input is one text of JSON."""

    task_type: TaskType
    typed: dict[str, str] = field(default_factory=dict)
    as_json: bool = False

    def __post_init__(self) -> None:
        self.fields = form.fields_of(self.task_type.input_schema)
        if not self.fields and self.task_type.input_schema.get("properties"):
            self.as_json = True

    @classmethod
    def blank(cls, task_type: TaskType) -> Self:
        draft = cls(task_type)
        draft.typed = {"priority": task_type.priority, **form.written_all(draft.fields, {})}
        return draft

    @classmethod
    def of_task(cls, task_type: TaskType, task: Task) -> Self:
        """The form filled in as that task was; as JSON where fields cannot say it exactly."""
        draft = cls(task_type)
        draft.typed = {
            "priority": Priority(task.priority).name.lower(),
            "tags": _as_list(task.tags),
            "max_attempts": str(task.max_attempts),
            "timeout": _plain(task.timeout_seconds),
        }
        draft._put(task.input_data)
        return draft

    @classmethod
    def sent(cls, task_type: TaskType, post: QueryDict) -> Self:
        draft = cls(task_type, as_json=post.get("as") == "json")
        names = {each.name for field in draft.fields for each in field.every()}
        names |= {RAW, *OPTIONS}
        draft.typed = {name: str(post[name]) for name in names if name in post}
        return draft

    def switch(self, *, to_json: bool) -> None:
        """The other way to write the input, with what it holds. Raises InvalidInput."""
        data = self.input_data()
        if to_json:
            self.typed[RAW], self.as_json = form.exactly(data), True
        else:
            self._put(data)
            if self.as_json:
                message = "The fields cannot say this exactly."
                raise InvalidInput([Flaw(("input_data",), "not_for_fields", message)])

    def input_data(self) -> Any:
        """Raises InvalidInput, its places within the request."""
        try:
            if not self.as_json:
                return form.read(self.fields, self.typed)
            return exact_json.loads(self.typed.get(RAW, "").encode())
        except exact_json.Unreadable as error:
            flaw = Flaw(("input_data",), "json_unreadable", str(error.message))
            raise InvalidInput([flaw]) from None
        except InvalidInput as error:
            raise InvalidInput(intake.within(("input_data",), error)) from None

    def body(self) -> dict[str, Any]:
        """The request's body. Raises InvalidInput."""
        self._refuse_too_much()
        self._refuse_null()
        data = self.input_data()
        found: dict[str, Any] = {"task_type": self.task_type.name, "input_data": data}
        options = {name: self.typed.get(name, "").strip() for name in OPTIONS}
        if options["priority"] and options["priority"] != self.task_type.priority:
            found["priority"] = options["priority"]
        if options["run_at"]:
            found["run_at"] = _moment(options["run_at"], options["zone"])
        if tags := _from_list(options["tags"]):
            found["tags"] = tags
        for name in ("max_attempts", "timeout"):
            if options[name] and options[name] != _plain(getattr(self.task_type, name)):
                found[name] = form.number(options[name])
        return found

    def new(self) -> NewTask:
        """Exactly what the API would make of the body. Raises InvalidInput."""
        body = self.body()
        intake.check_size(body)
        try:
            # What the API would not read is not taken here either.
            return intake.one(exact_json.loads(exact_json.dumps(body)))
        except exact_json.Unreadable as error:
            raise InvalidInput([Flaw((), "json_unreadable", str(error.message))]) from None

    def errors(self, error: InvalidInput) -> dict[str, list[str]]:
        """The texts by the names of the fields they belong to; "" for the form as a whole."""
        of_input = [
            Flaw(flaw.path[1:], flaw.code, flaw.message, flaw.context)
            for flaw in error.flaws
            if flaw.path[:1] == ("input_data",)
        ]
        others = [flaw for flaw in error.flaws if flaw.path[:1] != ("input_data",)]
        found = form.texts(() if self.as_json else self.fields, of_input)
        if self.as_json and "" in found:
            found[RAW] = [f"{_pointer(flaw)} {messages.of_flaw(flaw)}".strip() for flaw in of_input]
            del found[""]
        for flaw in others:
            name = str(flaw.path[0]) if flaw.path and str(flaw.path[0]) in OPTIONS else ""
            found.setdefault(name, []).append(messages.of_flaw(flaw))
        return found

    def _refuse_too_much(self) -> None:
        """Raises InvalidInput for more text than the API would read, before any of it is read."""
        if sum(map(len, self.typed.values())) > intake.BODY_LIMIT:
            raise intake.too_large()

    def _refuse_null(self) -> None:
        """Raises InvalidInput for what no database keeps, at its field."""
        places: dict[str, Path] = {
            each.name: ("input_data", *each.path) for field in self.fields for each in field.every()
        }
        places[RAW] = ("input_data",)
        message = "Null characters are not allowed."
        flaws = [
            Flaw(places.get(name, (name,)), "null_characters_not_allowed", message)
            for name, text in self.typed.items()
            if "\0" in text
        ]
        if flaws:
            raise InvalidInput(flaws)

    def _put(self, data: Any) -> None:
        if isinstance(data, Mapping):
            self.typed |= form.written_all(self.fields, data)
        self.as_json = False
        try:
            same = _same(form.read(self.fields, self.typed), data)
        except InvalidInput:
            same = False
        if not same:
            self.typed[RAW], self.as_json = form.exactly(data), True


def as_curl(url: str, body: dict[str, Any]) -> str:
    return CURL.format(url=url, body=shlex.quote(form.exactly(body)))


def as_python(url: str, body: dict[str, Any]) -> str:
    return PYTHON.format(url=url, body=pprint.pformat(body, sort_dicts=False, width=88))


def _moment(text: str, zone: str) -> str:
    """The time that was typed, with the zone of whoever typed it; as it is where it is none."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=_zone(zone))
        return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return text


def _zone(name: str) -> Any:
    if re.fullmatch(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+)*", name):
        try:
            return ZoneInfo(name)
        except (KeyError, OSError, ValueError):
            pass
    return UTC


def _as_list(tags: list[str]) -> str:
    """With commas between them; what has a comma itself stands in quotation marks."""
    return ", ".join(
        '"{}"'.format(tag.replace('"', '""')) if re.search('[,"]', tag) else tag for tag in tags
    )


def _from_list(text: str) -> list[str]:
    try:
        rows = list(csv.reader(text.splitlines(), skipinitialspace=True))
    except csv.Error:
        return [text]  # too long for a tag, and told so
    return [tag.strip() for row in rows for tag in row if tag.strip()]


def _plain(value: Any) -> str:
    return "" if value is None else repr(value).removesuffix(".0")


def _pointer(flaw: Flaw) -> str:
    return "".join(f"/{step}" for step in flaw.path)


def _same(one: Any, other: Any) -> bool:
    """Equal to the last digit and kind: 1, 1.0 and true are three things."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
