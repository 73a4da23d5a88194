"""Print text with control characters escaped, so that a handler cannot control the terminal."""

import json
import sys
from typing import IO, Any

import typer

# Line feed, tab, and the zero-width joiners that some languages need.
ALLOWED = "\n\t\u200c\u200d"
_raw = False


def disable_escaping() -> None:
    """From now on print texts unchanged."""
    global _raw
    _raw = True


def echo(text: object, *, err: bool = False) -> None:
    """Print a text and a line feed."""
    # In raw mode Click must not strip colour codes, which it does if stdout is not a terminal.
    typer.echo(escape(str(text)), err=err, color=_raw or None)


def escape(text: str) -> str:
    """Escape control and bidirectional formatting characters."""
    if _raw or text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in ALLOWED else _escape_sequence(c) for c in text)


def to_one_line(text: str) -> str:
    """Escape the text and join its lines, for a table cell."""
    return escape(" ".join(text.replace("\t", " ").splitlines()))


def indent_lines(text: str, by: int) -> str:
    """Indent all lines but the first, so that no line looks like output of the command itself."""
    return ("\n" + " " * by).join(text.splitlines()) if "\n" in text or "\r" in text else text


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Encode as JSON, with control characters as JSON escapes."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    text = json.dumps(value, ensure_ascii="utf" not in encoding, indent=indent)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def is_terminal(stream: IO[Any] | None) -> bool:
    """Whether the stream is open and a terminal."""
    return stream is not None and stream.isatty()


def escape_unencodable() -> None:
    """Let stdout and stderr escape characters that the locale's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


def _escape_sequence(character: str) -> str:
    return character.encode("unicode_escape").decode()
