"""Task types with one parameter each: of every kind, required, optional, and in lists."""

from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, HttpUrl, create_model

from taskyard import task_type

EMAIL = Annotated[str, Field(json_schema_extra={"format": "email"})]
LONG = Annotated[str, Field(max_length=5000)]
SECRET_KIND = "secret"
SECRET = Annotated[str, Field(json_schema_extra={"format": "password"})]


@dataclass(frozen=True)
class Asked:
    """Text for a value and the value that results; text for a wrong value and its error."""

    annotation: Any
    typed: str
    value: Any
    widget: str
    wrong: str = ""
    text: str = ""


ASKED = {
    "text": Asked(str, " two  words", " two  words", 'type="text"'),
    "long": Asked(LONG, "one\n\ntwo ", "one\n\ntwo ", "<textarea"),
    "secret": Asked(SECRET, "s3cret", "s3cret", 'type="password"'),
    "integer": Asked(int, " 42", 42, 'inputmode="numeric"', "4,2", "1.5, not 1,5"),
    "number": Asked(float, "1.50", 1.5, 'inputmode="decimal"', "1.000,5", "1.5, not 1,5"),
    "choice": Asked(Literal["red", 3, True], "3", 3, "<select", "blue", "One of these"),
    "date": Asked(date, "2030-01-31", "2030-01-31", 'type="date"', "31.01.2030", "A date in"),
    "time": Asked(time, "12:30", "12:30", 'type="time"', "half past", "A time in"),
    "uuid": Asked(
        UUID,
        " 0e1b4f5e-7c1e-4a6a-9a0d-2f6d2a3c4b5d",
        "0e1b4f5e-7c1e-4a6a-9a0d-2f6d2a3c4b5d",
        'class="is-uuid"',
        "0e1b",
        "A UUID is expected.",
    ),
    "email": Asked(EMAIL, "ann@example.org", "ann@example.org", 'type="email"'),
    "url": Asked(
        HttpUrl, "https://a.example/?b", "https://a.example/?b", 'type="url"', "a b", "URL"
    ),
    "datetime": Asked(
        datetime,
        "2030-01-01T12:00",
        "2030-01-01T09:00:00Z",
        'type="datetime-local"',
        "tomorrow",
        "A date and time in",
    ),
}
IN_LISTS = [kind for kind in ASKED if kind not in ("long", "secret")]


def asks(name: str, annotation: Any, *default: Any) -> None:
    """Register a type with one parameter."""

    def handler(value: Any) -> Any:
        return None

    handler.__annotations__ = {"value": annotation, "return": Any}
    handler.__defaults__ = default or None
    handler.__name__ = handler.__qualname__ = name.replace("-", "_")
    task_type(name)(handler)


for kind, asked in ASKED.items():
    inner: Any = create_model(f"Inner{kind.capitalize()}", inner=(asked.annotation, ...))
    asks(f"asks-{kind}", asked.annotation)
    asks(f"asks-optional-{kind}", asked.annotation | None, None)
    asks(f"asks-null-{kind}", asked.annotation | None)
    asks(f"asks-object-{kind}", inner)
    asks(f"asks-optional-object-{kind}", inner | None, None)
    asks(f"asks-rows-{kind}", list[inner])
    if kind in IN_LISTS:
        asks(f"asks-list-{kind}", list[asked.annotation])
        asks(f"asks-optional-list-{kind}", list[asked.annotation] | None, None)
asks("asks-boolean", bool)
asks("asks-optional-boolean", bool | None, None)
asks("asks-list-boolean", list[bool])
asks("asks-optional-dict", dict[str, int] | None, None)
asks("asks-anything", Any, None)


@task_type("asks-our-words", label="Delete")
def asks_our_words(
    tags: list[str],
    priority: int,
    label: str,
    timeout: float = 1.0,
    delete: bool = False,
    имя: str = "",
    имя_2: str = "",
) -> None:
    """Cancel"""
