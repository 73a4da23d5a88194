"""The form fields for the templates: with their values, errors and choices."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, cast

from django.forms.utils import flatatt
from django.utils.translation import gettext

from taskyard.web import schema_form
from taskyard.web.draft import Draft
from taskyard.web.fields import ABSENT, Field

if TYPE_CHECKING:  # a project may have no files
    from taskyard.files.models import StoredFile
    from taskyard.web.file_choice import OwnFiles

# A list with more values is edited as text with one value per line.
MAX_INPUTS = 100
INPUT_TYPES = {"email": "email", "url": "url", "secret": "password"}
# Values that the browser's date and time pickers accept; others get a text input.
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
    """A field for the template. ``rows`` are the fields inside, or the values of a list.

    ``moment`` is the time in UTC if ``value`` shows it in the form's time zone. ``label`` is set
    for a value of a list, which has no visible label. ``chosen`` and ``offered`` are files.
    """

    field: Field
    id: str
    value: str
    errors: list[str]
    rows: list["Widget"]
    choices: list[tuple[str, str, bool]]
    input_type: str
    moment: str = ""
    as_lines: bool = False
    has_focus: bool = False
    is_wrong: bool = False
    label: str = ""
    chosen: "tuple[tuple[str, StoredFile | None], ...]" = ()
    offered: "tuple[StoredFile, ...]" = ()

    @property
    def attributes(self) -> str:
        """The HTML attributes that all kinds share."""
        attributes = {
            "id": self.id,
            "name": self.field.name,
            "aria-label": self.label or None,
            "required": self.field.needed and not self.label,
            "aria-describedby": f"{self.field.id}-about",
            "aria-invalid": "true" if self.is_wrong else None,
            "autofocus": self.has_focus,
        }
        return flatatt({name: value for name, value in attributes.items() if value is not None})

    @property
    def input_mode(self) -> str:
        return INPUT_MODES.get(self.field.kind, "")

    @property
    def is_long(self) -> bool:
        return self.field.kind in ("long", "json") or "\n" in self.value

    @property
    def placeholder(self) -> str:
        """The default of an optional field, if it is neither text nor nullable."""
        default = self.field.default
        if default is ABSENT or default is None or self.field.nullable:
            return ""
        return "" if self.field.kind in schema_form.FREE_TEXT else schema_form.value_text(default)


def build_widgets(
    draft: Draft, errors: Mapping[str, list[str]], own_files: "OwnFiles | None" = None
) -> list[Widget]:
    """The widgets of a form; ``own_files`` if it has fields for files."""
    return [_widget(field, draft, errors, own_files) for field in draft.fields]


def run_at_type(draft: Draft) -> str:
    """The input type of the start time."""
    return _picker_type("datetime", draft.typed.get("run_at", ""))


def _picker_type(kind: str, text: str) -> str:
    """A date or time picker, or "text" if the picker cannot show the text."""
    input_type, pattern = PICKERS[kind]
    return input_type if not text or pattern.fullmatch(text) else "text"


def _widget(
    field: Field, draft: Draft, errors: Mapping[str, list[str]], own_files: "OwnFiles | None"
) -> Widget:
    text = draft.typed.get(field.name, "")
    if own_files is not None and field.takes_files:
        return replace(
            _base_widget(field, text, draft),
            errors=errors.get(field.name, []),
            is_wrong=bool(errors.get(field.name)),
            chosen=tuple(own_files.chosen(text)),
            offered=tuple(own_files.offered(field)),
        )
    children = field.children(draft.typed)
    return replace(
        _base_widget(field, text, draft),
        errors=errors.get(field.name, []),
        is_wrong=bool(errors.get(field.name)),
        rows=_list_values(field, draft, errors)
        if field.kind == "list"
        else [_widget(child, draft, errors, own_files) for child in children],
        as_lines=field.kind == "list"
        and (field.name in draft.as_lines or text.count("\n") >= MAX_INPUTS),
    )


def _list_values(field: Field, draft: Draft, errors: Mapping[str, list[str]]) -> list[Widget]:
    """The widgets of a list's values: all have the list's name, each its own id and label."""
    item = replace(cast("Field", field.item), path=field.path)
    wrong_names = {name for name in errors if name.startswith(f"{field.name}/")}
    # An error of the whole list marks all values.
    all_wrong = bool(errors.get(field.name)) and not wrong_names
    widgets = []
    # Empty lines are not values: the index in the input counts only the others.
    index = 0
    for number, line in enumerate(draft.typed.get(field.name, "").split("\n"), start=1):
        id_ = field.id if number == 1 else f"{field.id}-{number}"
        is_value = bool(line.strip())
        widgets.append(
            replace(
                _base_widget(item, line, draft),
                id=id_,
                label=f"{field.label} {number}",
                is_wrong=all_wrong or (is_value and f"{field.name}/{index}" in wrong_names),
                has_focus=draft.focus == id_,
            )
        )
        index += is_value
    return widgets


def _base_widget(field: Field, text: str, draft: Draft) -> Widget:
    value = _local_time(text, draft.typed.get("zone", "")) if field.kind == "datetime" else text
    input_type = INPUT_TYPES.get(field.kind, "text")
    if field.kind in PICKERS:
        input_type = _picker_type(field.kind, value)
    return Widget(
        field=field,
        id=field.id,
        value="" if field.kind == "secret" else value,
        errors=[],
        rows=[],
        choices=_choices(field, text),
        input_type=input_type,
        moment=text if value != text else "",
        has_focus=draft.focus == field.id,
    )


def _local_time(text: str, zone: str) -> str:
    """A time in the form's time zone; the text itself if the conversion is not reversible."""
    try:
        moment = datetime.fromisoformat(text)
        local = moment.astimezone(schema_form.parse_zone(zone)).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return text
    local_text = local.isoformat()
    is_same = schema_form.to_utc(local_text, zone) == schema_form.to_utc(text, "")
    return local_text if moment.tzinfo and is_same else text


def _choices(field: Field, chosen: str) -> list[tuple[str, str, bool]]:
    """The value, the label and whether it is chosen, of each choice."""
    labels = {"true": gettext("yes"), "false": gettext("no"), "": "—"}
    choices: Iterable[object] = (True, False) if field.kind == "boolean" else field.choices
    options = []
    for choice in choices:
        text = schema_form.value_text(choice)
        label = text if isinstance(choice, str) else labels.get(text, text)
        options.append((text, label, text == chosen))
    return options
