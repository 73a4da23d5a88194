"""The fields of a form as they are drawn: with what stands in them and what is wrong with that."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

from django.forms.utils import flatatt
from django.utils.translation import gettext

from taskyard.web import schema_form
from taskyard.web.draft import Draft
from taskyard.web.fields import ABSENT, Field

# A list with more values is one text with a value on each line.
MOST_LINES = 100
INPUT_TYPES = {"email": "email", "url": "url", "secret": "password"}
# What a browser's own widget can show; anything else stands in a field of text.
_CLOCK = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,3})?)?"
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
PICKERS = {
    "date": ("date", re.compile(_DAY)),
    "time": ("time", re.compile(_CLOCK)),
    "datetime": ("datetime-local", re.compile(f"{_DAY}T{_CLOCK}")),
}
INPUT_MODES = {"integer": "numeric", "number": "decimal"}


@dataclass(frozen=True)
class Widget:
    """A field as it is drawn. ``rows`` are the fields inside, or the values of a list."""

    field: Field
    id: str
    value: str
    texts: list[str]
    rows: list["Widget"]
    choices: list[tuple[str, str, bool]]
    input_type: str
    moment: str = ""
    as_lines: bool = False
    has_focus: bool = False
    is_wrong: bool = False
    label: str = ""

    @property
    def attributes(self) -> str:
        """What every control has besides its kind's own; a value of a list has no visible label."""
        found = {
            "id": self.id,
            "name": self.field.name,
            "aria-label": self.label or None,
            "required": self.field.needed and not self.label,
            "aria-describedby": f"{self.field.id}-about",
            "aria-invalid": "true" if self.is_wrong else None,
            "autofocus": self.has_focus,
        }
        return flatatt({name: value for name, value in found.items() if value is not None})

    @property
    def kind(self) -> str:
        return self.field.kind

    @property
    def input_mode(self) -> str:
        return INPUT_MODES.get(self.field.kind, "")

    @property
    def is_long(self) -> bool:
        return self.field.kind in ("long", "json") or "\n" in self.value

    @property
    def otherwise(self) -> str:
        """What an empty field of an optional number and its like stands for."""
        default = self.field.default
        if default is ABSENT or default is None or self.field.nullable:
            return ""
        return "" if self.field.kind in schema_form.FREE_TEXT else schema_form.option_text(default)


def rows(draft: Draft, errors: Mapping[str, list[str]]) -> list[Widget]:
    return [_widget(field, draft, errors) for field in draft.fields]


def run_at_type(draft: Draft) -> str:
    """The widget of the start time: a browser's own shows nothing that is no time."""
    kind, shape = PICKERS["datetime"]
    text = draft.typed.get("run_at", "")
    return kind if not text or shape.fullmatch(text) else "text"


def _widget(field: Field, draft: Draft, errors: Mapping[str, list[str]]) -> Widget:
    text = draft.typed.get(field.name, "")
    inner = field.within(draft.typed)
    drawn = _drawn(field, text, draft)
    return replace(
        drawn,
        texts=errors.get(field.name, []),
        is_wrong=bool(errors.get(field.name)),
        rows=_values(field, draft, errors)
        if field.kind == "list"
        else [_widget(each, draft, errors) for each in inner],
        as_lines=field.kind == "list"
        and (field.name in draft.as_lines or text.count("\n") >= MOST_LINES),
    )


def _values(field: Field, draft: Draft, errors: Mapping[str, list[str]]) -> list[Widget]:
    """The values of a list, all under its name; each with an id and a label of its own."""
    item = cast("Field", field.item)
    # What is wrong with the list as a whole is wrong with each.
    marked = {name for name in errors if name.startswith(f"{field.name}/")}
    all_wrong = bool(errors.get(field.name)) and not marked
    drawn = []
    index = 0
    for number, line in enumerate(draft.typed.get(field.name, "").split("\n"), start=1):
        id_ = field.id if number == 1 else f"{field.id}-{number}"
        own = replace(item, path=field.path)
        wrong = all_wrong or (bool(line.strip()) and f"{field.name}/{index}" in marked)
        drawn.append(
            replace(
                _drawn(own, line, draft),
                id=id_,
                label=f"{field.label} {number}",
                is_wrong=wrong,
                has_focus=draft.focus == id_,
            )
        )
        index += bool(line.strip())
    return drawn


def _drawn(field: Field, text: str, draft: Draft) -> Widget:
    value = _local(text, draft.typed.get("zone", "")) if field.kind == "datetime" else text
    input_type = INPUT_TYPES.get(field.kind, "text")
    if field.kind in PICKERS:
        kind, shape = PICKERS[field.kind]
        input_type = kind if not value or shape.fullmatch(value) else "text"
    return Widget(
        field=field,
        id=field.id,
        value="" if field.kind == "secret" else value,
        texts=[],
        rows=[],
        choices=_choices(field, text),
        input_type=input_type,
        moment=text if value != text else "",
        has_focus=draft.focus == field.id,
    )


def _local(text: str, zone: str) -> str:
    """A moment on the clock of the form's zone; as it is where that would change it."""
    try:
        moment = datetime.fromisoformat(text)
        local = moment.astimezone(schema_form.zone_of(zone)).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return text
    shown = local.isoformat()
    return (
        shown
        if moment.tzinfo and schema_form.moment(shown, zone) == schema_form.moment(text, "")
        else text
    )


def _choices(field: Field, chosen: str) -> list[tuple[str, str, bool]]:
    known = {"true": gettext("yes"), "false": gettext("no"), "": "—"}
    options: Iterable[object] = (True, False) if field.kind == "boolean" else field.choices
    found = []
    for each in options:
        text = schema_form.option_text(each)
        shown = text if isinstance(each, str) else known.get(text, text)
        found.append((text, shown, text == chosen))
    return found
