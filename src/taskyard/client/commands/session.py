"""What the commands share: the client with the saved login, and the handling of errors."""

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
from taskyard.client.commands.terminal import echo, indent_lines, is_terminal, json_text
from taskyard.client.i18n import gettext as _
from taskyard.client.i18n import language

if TYPE_CHECKING:
    from taskyard.client import ApiError, Client

# Keep httpx from importing its own command line, which takes a third of our start-up time. None in
# sys.modules makes the import fail.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]

TASK_FAILED, USAGE, NOT_LOGGED_IN, REFUSED, UNREACHABLE, INTERRUPTED = 1, 2, 3, 4, 5, 130
# How long a command retries if the server does not answer; the second value is for commands that
# wait for a task.
RETRY_SECONDS, KEEP_TRYING_SECONDS = 3.0, 60.0

AsJson = Annotated[
    bool, typer.Option("--json", help=_("print one JSON object per line"), show_default=False)
]
URL_PATTERN = re.compile(r"https?://(?:\[[0-9a-fA-F:.]+\]|[^\s/?#\[\]:]+)(?::[^\s/?#]*)?(?:/\S*)?")
Command = TypeVar("Command", bound=Callable[..., Any])
# The subject of `taskyard --on-behalf-of SUBJECT`.
_subject: str | None = None


def act_for(subject: str | None) -> None:
    """Let the clients of this process act on behalf of a subject."""
    global _subject
    if subject is not None and not re.fullmatch(r"[\x21-\x7e]+", subject):
        raise typer.BadParameter(_("--on-behalf-of: this is not the name of a subject"))
    _subject = subject


def server_url() -> str:
    """The URL of the server: TASKYARD_URL, or that of the saved login, or this machine.

    A `taskyard up` that runs in this folder replaces a saved login on this machine, which may be
    of an earlier start on another port.
    """
    from taskyard.client import config
    from taskyard.client._sync import DEFAULT_URL
    from taskyard.client.ssl_context import is_loopback

    login, local_url = config.load_login(), config.local_server_url()
    if login is not None and local_url is not None and is_loopback(login.url):
        login = None
    saved = login.url if login else local_url
    return (os.environ.get("TASKYARD_URL") or saved or DEFAULT_URL).rstrip("/")


def connect(
    *, keep_trying: bool = False, url: str | None = None, answers_in: str | None = None
) -> "Client":
    """A client with the token of TASKYARD_TOKEN or of the saved login.

    ``url`` is given by `login`, which ignores TASKYARD_TOKEN. ``answers_in`` is the language of
    the server's answers; default: that of the locale.
    """
    from taskyard.client import Client, MemoryTokens, Tokens, TokenStore
    from taskyard.client.config import FileTokens

    token = None if url else os.environ.get("TASKYARD_TOKEN")
    url = url or server_url()
    if not URL_PATTERN.fullmatch(url):
        raise typer.BadParameter(
            _("%(url)s: a URL must begin with http:// or https://") % {"url": url}
        )
    if token and not re.fullmatch(r"[\x21-\x7e]+", token):
        raise typer.BadParameter(_("TASKYARD_TOKEN: this is not a token"))
    tokens: TokenStore = MemoryTokens(Tokens(token)) if token else FileTokens(url)
    return Client(
        url,
        tokens=tokens,
        on_behalf_of=_subject,
        language=answers_in or language(),
        retry_for=KEEP_TRYING_SECONDS if keep_trying else RETRY_SECONDS,
        on_retry=_RetryNotice() if keep_trying else None,
    )


class _RetryNotice:
    """Prints once that the client retries."""

    def __init__(self) -> None:
        self._printed = False

    def __call__(self, error: Exception, pause: float) -> None:
        if not self._printed and is_terminal(sys.stderr):
            notice(_("The server does not answer; trying again."))
        self._printed = True


def command(function: Command) -> Command:
    """Decorate a command: turn its exceptions into a message and an exit code."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        from httpx import InvalidURL

        from taskyard.client import (
            ApiError,
            AuthenticationError,
            ConnectionFailed,
            NotFound,
            TransferFailed,
        )

        as_json = bool(kwargs.get("as_json"))
        try:
            return function(*args, **kwargs)
        except (BadField, InvalidURL, UnicodeEncodeError) as error:
            raise typer.BadParameter(str(error)) from None
        except AuthenticationError as error:
            if error.code in ("not_logged_in", "token_not_valid"):
                error.detail = _login_hint()
            _exit_with_error(error, NOT_LOGGED_IN, as_json)
        except NotFound as error:
            if isinstance(task_id := kwargs.get("task_id"), int):
                error.detail = _no_task(task_id)
            _exit_with_error(error, REFUSED, as_json)
        except ConnectionFailed as error:
            if as_json:
                _print_json_error({"code": "unreachable", "detail": str(error)})
            else:
                notice(_("The server cannot be reached: %(error)s") % {"error": error})
            raise typer.Exit(UNREACHABLE) from None
        except TransferFailed as error:
            if as_json:
                _print_json_error({"code": "transfer_failed", "detail": str(error)})
            else:
                notice(_("The file was changed on its way: %(error)s") % {"error": error})
            raise typer.Exit(UNREACHABLE) from None
        except ApiError as error:
            _exit_with_error(error, REFUSED if error.status < 500 else UNREACHABLE, as_json)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            notice(f"{error.filename or ''}: {error.strerror}".removeprefix(": "))
            raise typer.Exit(USAGE) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None

    return run  # type: ignore[return-value]


@contextmanager
def name_missing_task(task_id: int) -> Iterator[None]:
    """Let a NotFound error name the task; for commands with several tasks."""
    from taskyard.client import NotFound

    try:
        yield
    except NotFound as error:
        error.detail = _no_task(task_id)
        raise


@contextmanager
def name_missing_file(file_id: int) -> Iterator[None]:
    """Let a NotFound error name the file."""
    from taskyard.client import NotFound

    try:
        yield
    except NotFound as error:
        error.detail = _("There is no file %(id)s, or it is not yours.") % {"id": file_id}
        raise


def _no_task(task_id: int) -> str:
    return _("There is no task %(id)s, or it is not yours.") % {"id": task_id}


def _login_hint() -> str:
    if os.environ.get("TASKYARD_TOKEN"):
        return _("The token in TASKYARD_TOKEN is invalid or has expired.")
    return _("You are not logged in: taskyard login")


def notice(text: str) -> None:
    """Print a message to stderr."""
    echo(f"taskyard: {indent_lines(text, 2)}", err=True)


def format_path(steps: Sequence[str]) -> str:
    """A path as Python writes it: `input_data.numbers[1]`."""
    path = "".join(f"[{step}]" if step.isdecimal() else f".{step}" for step in steps)
    # `line 7.input_data` becomes `line 7: input_data`.
    return re.sub(r"^(\w+ \d+)\.", r"\1: ", path.removeprefix("."))


def _exit_with_error(error: "ApiError", code: int, as_json: bool) -> NoReturn:
    if as_json:
        errors = [vars(field_error) for field_error in error.errors]
        _print_json_error({"code": error.code, "detail": error.detail, "errors": errors})
    else:
        notice(error.detail)
        for field_error in error.errors:
            if field_error.pointer:
                echo(f"  {format_path(field_error.steps)}: {field_error.detail}", err=True)
                if hint := _json_hint(field_error.pointer, field_error.code):
                    echo(f"    {hint}", err=True)
    raise typer.Exit(code)


def _json_hint(pointer: str, code: str) -> str:
    """A hint for the most common mistake: a number that was sent as a string."""
    type_codes = ("int_type", "float_type", "bool_type", "list_type", "dict_type", "model_type")
    name = re.fullmatch(r"/input_data/([^/]+)", pointer)
    if name is None or code not in type_codes or f"{name[1]}=" not in " ".join(sys.argv):
        return ""
    return _("%(name)s=… is text; %(name)s:=… is JSON") % {"name": name[1]}


def _print_json_error(error: dict[str, Any]) -> None:
    echo(json_text({"error": error}), err=True)
