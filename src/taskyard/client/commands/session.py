"""What every command shares: its client, and what an error is to whoever typed it."""

import errno
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from taskyard.client.commands.fields import BadField
from taskyard.client.commands.terminal import indented, is_terminal, json_text, put
from taskyard.client.i18n import gettext as _
from taskyard.client.i18n import language

if TYPE_CHECKING:
    from taskyard.client import ApiError, Client

# httpx has a command line of its own, and loads it with colours and all wherever it can: a third of
# what a command of ours takes to start. A name that stands for nothing is not found.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

TASK_FAILED, USAGE, NOT_LOGGED_IN, REFUSED, UNREACHABLE, INTERRUPTED = 1, 2, 3, 4, 5, 130
# How long a command goes on when the server does not answer: one that waits anyway is patient.
SHORT_SECONDS, LONG_SECONDS = 3.0, 60.0

AsJson = Annotated[
    bool, typer.Option("--json", help=_("for machines: one JSON object a line"), show_default=False)
]
ADDRESS = re.compile(r"https?://(?:\[[0-9a-fA-F:.]+\]|[^\s/?#\[\]:]+)(?::[^\s/?#]*)?(?:/\S*)?")
Command = TypeVar("Command", bound=Callable[..., Any])


def address() -> str:
    """The server: of TASKYARD_URL, or where one has logged in, or this machine.

    On this machine it is the one of the `taskyard up` that runs in this folder.
    """
    from taskyard.client import config
    from taskyard.client._sync import DEFAULT_URL
    from taskyard.client.ssl_context import is_loopback

    login, here = config.read(), config.running_here()
    if login is not None and here is not None and is_loopback(login.url):
        login = None  # of an earlier start on another port
    saved = login.url if login else here
    return (os.environ.get("TASKYARD_URL") or saved or DEFAULT_URL).rstrip("/")


def connect(*, patient: bool = False, url: str | None = None) -> "Client":
    """A client with the token of TASKYARD_TOKEN, or that of the saved login; with a ``url`` of its
    own, one that is about to log in there."""
    from taskyard.client import Client, MemoryTokens, Tokens, TokenStore
    from taskyard.client.config import FileTokens

    token = None if url else os.environ.get("TASKYARD_TOKEN")
    url = url or address()
    if not ADDRESS.fullmatch(url):
        raise typer.BadParameter(
            _("%(url)s: an address begins with http:// or https://") % {"url": url}
        )
    if token and not re.fullmatch(r"[\x21-\x7e]+", token):
        raise typer.BadParameter(_("TASKYARD_TOKEN: this is no token"))
    tokens: TokenStore = MemoryTokens(Tokens(token)) if token else FileTokens(url)
    return Client(
        url,
        tokens=tokens,
        language=language(),
        retry_for=LONG_SECONDS if patient else SHORT_SECONDS,
        on_retry=_Notice() if patient else None,
    )


class _Notice:
    """Says once that the server is being waited for."""

    def __init__(self) -> None:
        self._said = False

    def __call__(self, error: Exception, pause: float) -> None:
        if not self._said and is_terminal(sys.stderr):
            say(_("The server does not answer; trying again."))
        self._said = True


def command(function: Command) -> Command:
    """A command of ours: its errors become a message and an exit code."""

    @functools.wraps(function)
    def run(*args: Any, **given: Any) -> Any:
        from httpx import InvalidURL

        from taskyard.client import ApiError, AuthenticationError, ConnectionFailed, NotFound

        as_json = bool(given.get("as_json"))
        try:
            return function(*args, **given)
        except (BadField, InvalidURL, UnicodeEncodeError) as error:
            raise typer.BadParameter(str(error)) from None
        except AuthenticationError as error:
            if error.code in ("not_logged_in", "token_not_valid"):
                error.detail = _why_not_logged_in()
            _fail(error, NOT_LOGGED_IN, as_json)
        except NotFound as error:
            if isinstance(task_id := given.get("task_id"), int):
                error.detail = _no_task(task_id)
            _fail(error, REFUSED, as_json)
        except ConnectionFailed as error:
            if as_json:
                _say_json({"code": "unreachable", "detail": str(error)})
            else:
                say(_("The server cannot be reached: %(error)s") % {"error": error})
            raise typer.Exit(UNREACHABLE) from None
        except ApiError as error:
            _fail(error, REFUSED if error.status < 500 else UNREACHABLE, as_json)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            say(f"{error.filename or ''}: {error.strerror}".removeprefix(": "))
            raise typer.Exit(USAGE) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None

    return run  # type: ignore[return-value]


@contextmanager
def naming(task_id: int) -> Iterator[None]:
    """Of several tasks, let an error say which one is not there."""
    from taskyard.client import NotFound

    try:
        yield
    except NotFound as error:
        error.detail = _no_task(task_id)
        raise


def _no_task(task_id: int) -> str:
    return _("There is no task %(id)s, or it is not yours.") % {"id": task_id}


def _why_not_logged_in() -> str:
    if os.environ.get("TASKYARD_TOKEN"):
        return _("The token of TASKYARD_TOKEN is not valid, or no longer.")
    return _("You are not logged in: taskyard login")


def say(text: str) -> None:
    """A line to the person, beside what the command prints."""
    put(f"taskyard: {indented(text, 2)}", err=True)


def place(steps: Sequence[str]) -> str:
    """A place as people write it: `input_data.numbers[1]`."""
    written = "".join(f"[{step}]" if step.isdecimal() else f".{step}" for step in steps)
    # A line of a file stands before what is on it.
    return re.sub(r"^(\w+ \d+)\.", r"\1: ", written.removeprefix("."))


def _fail(error: "ApiError", code: int, as_json: bool) -> NoReturn:
    if as_json:
        errors = [vars(each) for each in error.errors]
        _say_json({"code": error.code, "detail": error.detail, "errors": errors})
    else:
        say(error.detail)
        for each in error.errors:
            if each.pointer:
                put(f"  {place(each.steps)}: {each.detail}", err=True)
                if hint := _hint(each.pointer, each.code):
                    put(f"    {hint}", err=True)
    raise typer.Exit(code)


def _hint(pointer: str, code: str) -> str:
    """The commonest mistake: a number as a text."""
    wanted = ("int_type", "float_type", "bool_type", "list_type", "dict_type", "model_type")
    name = re.fullmatch(r"/input_data/([^/]+)", pointer)
    if name is None or code not in wanted or f"{name[1]}=" not in " ".join(sys.argv):
        return ""
    return _("%(name)s=… is a text; %(name)s:=… is JSON") % {"name": name[1]}


def _say_json(error: dict[str, Any]) -> None:
    put(json_text({"error": error}), err=True)
