"""`name=text` and `name:=json` at a prompt, as HTTPie reads them; `=@file` and `:=@file` too."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from taskyard.client.words import gettext as _

FIELD = re.compile(r"([^:=@]+)(:=@|=@|:=|=)(.*)", re.DOTALL)


class BadField(ValueError):
    """What was typed is no field. The message is one line for the person who typed it."""


def read(words: Sequence[str], source: str | None) -> dict[str, Any]:
    """The input: the object in the file ``source`` (`-` is stdin), and the fields over it."""
    given = {} if source is None else _object(source)
    for word in words:
        match = FIELD.fullmatch(word)
        if match is None:
            raise BadField(_("%(word)s: a field is name=text or name:=json") % {"word": word})
        name, sign, text = match.groups()
        if sign.endswith("@"):
            text = content(text)
        given[name] = _json(name, text) if sign.startswith(":") else text
    return given


def content(path: str) -> str:
    """The text of a file, or of stdin for `-`. Raises BadField."""
    try:
        # Bytes of another encoding are refused rather than guessed.
        return (sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BadField(f"{path}: {error}") from None


def _object(source: str) -> dict[str, Any]:
    value = _json(source, content(source))
    if not isinstance(value, dict):
        raise BadField(_("%(name)s: an object is expected") % {"name": source})
    return value


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BadField(
            _("%(name)s: this is not JSON: %(error)s") % {"name": name, "error": error}
        ) from None


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
