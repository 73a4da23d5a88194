"""`name=text` and `name:=json` at a prompt, as HTTPie reads them; `=@file` and `:=@file` too."""

import codecs
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from taskyard.client.i18n import gettext as _

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
        return decoded(standard_input().read() if path == "-" else Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise BadField(f"{path}: {error}") from None


def standard_input() -> IO[bytes]:
    """Raises BadField if it is closed."""
    if sys.stdin is None:
        raise BadField(_("standard input is closed"))
    return sys.stdin.buffer


def decoded(text: bytes) -> str:
    """The text in UTF-8, or in UTF-16 or UTF-32 with its mark. Raises ValueError.

    Bytes of another encoding are refused rather than guessed.
    """
    encoding = encoding_of(text[:4])
    if encoding == "utf-8-sig" and b"\0" in text[:4]:
        raise ValueError(_("this is UTF-16 without a byte order mark: save as UTF-8"))
    try:
        return text.decode(encoding)
    except UnicodeDecodeError as error:
        said = {"encoding": encoding.removesuffix("-sig").upper(), "number": error.start}
        raise ValueError(_("this is not %(encoding)s at byte %(number)s") % said) from None


def encoding_of(start: bytes) -> str:
    """What the first four bytes say, which may be a byte order mark."""
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig"


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
