"""Parse the input fields of a command, in the syntax of HTTPie.

`name=text`, `name:=json`, `name=@file` and `name:=@file`; for a secret also `name=@env:NAME`.
"""

import codecs
import json
import os
import re
import sys
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from taskyard.client.i18n import gettext as _

ENV = "env:"
FIELD = re.compile(r"([^:=@]+)(:=@|=@|:=|=)(.*)", re.DOTALL)


class BadField(ValueError):
    """An input field is invalid. The message is one line for the user."""


@dataclass(frozen=True)
class FilePath:
    """A file to upload."""

    path: str

    @property
    def is_stdin(self) -> bool:
        return self.path == "-"


def parse_fields(
    words: Sequence[str],
    source: str | None,
    file_names: Container[str] = (),
    secret_names: Container[str] = (),
) -> dict[str, Any]:
    """The input of a task: the JSON object in the file ``source``, updated by the fields.

    A ``source`` of `-` is stdin. A field `name=@file` with a name of ``file_names``, which may be
    repeated, becomes a list of FilePath. With a name of ``secret_names`` it loses the end of its
    last line, and `name=@env:NAME` reads an environment variable. Raises BadField.
    """
    data = {} if source is None else _read_object(source)
    paths: dict[str, list[FilePath]] = {}
    for word in words:
        match = FIELD.fullmatch(word)
        if match is None:
            raise BadField(_("%(word)s: a field is name=text or name:=json") % {"word": word})
        name, operator, text = match.groups()
        if operator == "=@" and name in file_names:
            data[name] = paths.setdefault(name, [])
            paths[name].append(FilePath(text))
            continue
        if operator == "=@" and name in secret_names:
            text = read_secret(text)
        elif operator.endswith("@"):
            text = read_text(text)
        data[name] = _parse_json(name, text) if operator.startswith(":") else text
    return data


def read_secret(source: str) -> str:
    """Read a secret from a file, stdin (`-`) or an environment variable (`env:NAME`).

    Without the end of its last line. Raises BadField.
    """
    if not source.startswith(ENV):
        return read_text(source).removesuffix("\n").removesuffix("\r")
    name = source.removeprefix(ENV)
    if (text := os.environ.get(name)) is None:
        raise BadField(_("%(name)s: there is no such environment variable") % {"name": name})
    return text


def read_text(path: str) -> str:
    """Read a file, or stdin for `-`. Raises BadField."""
    try:
        return decode(standard_input().read() if path == "-" else Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise BadField(f"{path}: {error}") from None


def standard_input() -> IO[bytes]:
    """The binary stdin. Raises BadField if it is closed."""
    if sys.stdin is None:
        raise BadField(_("standard input is closed"))
    return sys.stdin.buffer


def decode(text: bytes) -> str:
    """Decode UTF-8, or UTF-16 and UTF-32 with a byte order mark. Raises ValueError."""
    encoding = detect_encoding(text[:4])
    if encoding == "utf-8-sig" and b"\0" in text[:4]:
        raise ValueError(_("this is UTF-16 without a byte order mark: save as UTF-8"))
    try:
        return text.decode(encoding)
    except UnicodeDecodeError as error:
        details = {"encoding": encoding.removesuffix("-sig").upper(), "number": error.start}
        raise ValueError(_("this is not %(encoding)s at byte %(number)s") % details) from None


def detect_encoding(start: bytes) -> str:
    """What the first four bytes notice, which may be a byte order mark."""
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig"


def _read_object(source: str) -> dict[str, Any]:
    value = _parse_json(source, read_text(source))
    if not isinstance(value, dict):
        raise BadField(_("%(name)s: an object is expected") % {"name": source})
    return value


def _parse_json(name: str, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_reject_constant)
    except (ValueError, RecursionError) as error:
        raise BadField(
            _("%(name)s: this is not JSON: %(error)s") % {"name": name, "error": error}
        ) from None


def _reject_constant(constant: str) -> Any:
    raise ValueError(constant)
