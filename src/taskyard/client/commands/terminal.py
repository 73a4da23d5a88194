"""What may reach a terminal: whatever a handler or a server says, nothing that steers it."""

import json
import sys
from typing import IO, Any

import typer

# The end of a line, the tab, and the joiners that words of some languages need.
ALLOWED = "\n\t\u200c\u200d"
_raw = False


def show_raw() -> None:
    """From now on print texts as they came."""
    global _raw
    _raw = True


def put(text: object, *, err: bool = False) -> None:
    """Print one text and the end of its line."""
    # Where there is no terminal, Click would leave colours out.
    typer.echo(escaped(str(text)), err=err, color=_raw or None)


def escaped(text: str) -> str:
    """The text with control and direction characters escaped."""
    if _raw or text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in ALLOWED else _escape(c) for c in text)


def on_one_line(text: str) -> str:
    """The text for a cell."""
    return escaped(" ".join(text.replace("\t", " ").splitlines()))


def indented(text: str, by: int) -> str:
    """The text with the lines behind the first set in, so that none passes for one of ours."""
    return ("\n" + " " * by).join(text.splitlines()) if "\n" in text or "\r" in text else text


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON; what would steer a terminal is escaped in it, which means the same."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    text = json.dumps(value, ensure_ascii="utf" not in encoding, indent=indent)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def is_terminal(stream: IO[Any] | None) -> bool:
    """Whether a person sees it; a stream that is closed is none."""
    return stream is not None and stream.isatty()


def settle() -> None:
    """Print what the locale's encoding lacks as escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


def _escape(sign: str) -> str:
    return sign.encode("unicode_escape").decode()
