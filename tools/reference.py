"""Write generated documentation: `python -m tools.reference`.

It writes the reference pages of the command line, the library and the dict TASKYARD, the settings
that compose.yaml passes on, and the schema of an export. Tests compare them with the code."""

import inspect
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
COMMANDS, LIBRARY = REFERENCE / "command-line.md", REFERENCE / "client.md"
HOST_SETTINGS = REFERENCE / "django-settings.md"
COMPOSE = REFERENCE.parent.parent / "compose.yaml"
EXPORT = REFERENCE / "export-format.schema.json"
# Settings that compose.yaml fixes for its containers.
FIXED = {
    *("HOST", "PORT", "TASKYARD_HOME", "TASKYARD_PROCESS", "DATABASE_URL", "DJANGO_SECRET_KEY"),
    *("REDIS_URL", "CELERY_BROKER_URL", "DJANGO_DEBUG", "TASKYARD_FILES_URL"),
    "TASKYARD_ENCRYPTION_KEYS",
}

COMMANDS_HEAD = """\
# Command line

The commands for users who submit tasks. They only use a server's API; the [operator's commands](commands.md) are subcommands of the same program. This page is generated from the code by `python -m tools.reference`. Begin with the [tutorial](../tutorial.md), or see a [recording](../recording.md).

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | the task that was waited for failed or was cancelled |
| 2 | wrong usage |
| 3 | not logged in |
| 4 | refused: what is wrong, and in which field, is on stderr |
| 5 | the server cannot be reached, or has a fault of its own |
| 130 | stopped with Ctrl-C; a task that was waited for goes on |

| environment | meaning |
| --- | --- |
| `TASKYARD_URL` | the server; else the one of the login, else the one that `taskyard up` runs in this folder (or in `TASKYARD_HOME`), else http://127.0.0.1:8000. A login on this machine gives way to what runs in this folder |
| `TASKYARD_TOKEN` | an access token or an [API key](../how-to/api-keys.md); goes before the login |
| `XDG_CONFIG_HOME` | the login is in `taskyard/login.json` there, else under `~/.config`, 0600. It is renewed by itself, and never shown to another server |
| `LC_ALL`, `LC_MESSAGES`, `LANG` | English or Russian |
| `NO_COLOR` | no colours |
| `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, `SSL_CERT_FILE` | as elsewhere; this machine is never asked through a proxy. A SOCKS proxy needs the package `httpx[socks]` |

What a command found goes to stdout: a table on a terminal, tab-separated lines elsewhere, with `--json` the API's objects, one a line. Everything else goes to stderr: messages, with `--json` errors as `{"error": {"code", "detail", "errors"}}`, and bars, these on a terminal only. Control and direction characters in a text of a handler are shown escaped; `show --raw` and `logs --raw` print them as they came.

A field is `name=text` or `name:=json`; `name=@file` and `name:=@file` read a file, `@-` reads stdin. A secret comes from `name=@FILE`, `name=@-` or `name=@env:NAME` (an environment variable), without the end of its last line, so that it stands in no history of a shell; on a terminal `submit` asks for secrets that are missing, without an echo. Files are UTF-8, with or without a byte order mark, or UTF-16 with one. `submit` checks the input against its type's schema, which it asks the server for, and sends nothing that is wrong; what it says is what the server would. Choices, times and models within an input are the server's to check. So are the lines of `bulk`: of a thousand lines in which one is wrong, none is accepted.

If an input takes a file, `name=@file` uploads the file and gives its id; for a list of files, repeat the field. `submit` first compares the size and, as far as it is certain, the type with the schema. An upload or a download that is cut off goes on where it stood; a download is in `<name>.part` until its SHA-256 is right. The names of downloads never lead out of the folder. With `--idempotency-key`, use `files upload` and the id: a second upload is another file.

If the server does not answer, a command tries again: for 3 s, or for 60 s if it waits anyway (`--wait`, `--watch`, `watch`, `bulk`, `--follow`) or moves files. This is safe, because every submit and every `retry` carries an idempotency key.

`taskyard --install-completion` teaches the shell all commands, options and the server's task types.
"""

LIBRARY_HEAD = """\
# Client library

`taskyard.client` is the API for programs: `Client`, and `AsyncClient` with the same methods to await (`aclose` for `close`; what iterates is iterated with `async for`). It imports nothing of the server. Made from the code by `python -m tools.reference`.

Every submit carries an `Idempotency-Key`, made once, so that it is accepted once however often it has to be sent. Requests are sent again, with growing pauses, when the server cannot be reached and for 429, 502, 503 and 504, as `Retry-After` asks. Errors of the API are exceptions with `status`, `code`, `detail` and `errors`, each of those with `pointer`, `code` and `detail`; [codes](errors-and-logs.md) do not depend on the language.
"""


def commands() -> str:
    """The page of the command line."""
    from typer.main import get_command

    from taskyard.client.commands.app import program

    group: Any = get_command(program({}))
    parts = [COMMANDS_HEAD]
    for name, command in _all_commands(group):
        operands = [each for each in command.params if each.param_type_name == "argument"]
        usage = " ".join(["taskyard", name, *(each.metavar or each.name for each in operands)])
        parts.append(f"## {name}\n\n`{usage}`\n\n{command.help}\n")
        parts.append("| | |\n| --- | --- |\n" + "".join(_parameters(command.params)))
    return "\n".join(parts)


def _all_commands(group: Any) -> Iterator[tuple[str, Any]]:
    """The commands by their full names, those of groups at the place of the group."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from ((f"{name} {inner}", each) for inner, each in _all_commands(command))
        else:
            yield name, command


def _parameters(parameters: list[Any]) -> Iterator[str]:
    for each in parameters:
        if each.param_type_name == "argument":
            words = f"`{each.metavar or each.name}`"
        else:
            value = "" if each.is_flag else f" {each.metavar or 'TEXT'}"
            words = ", ".join(f"`{word}{value}`" for word in (*each.opts, *each.secondary_opts))
        default = each.default
        shown = default not in (None, "", False) and not each.is_flag and not each.required
        help_text = (each.help or "") + (f" (default {default})" if shown else "")
        yield f"| {words.replace('|', chr(92) + '|')} | {help_text.replace('|', chr(92) + '|')} |\n"


def library() -> str:
    """The page of the library."""
    from taskyard import client

    parts = [LIBRARY_HEAD, f"## Client\n\n{_signature('Client', client.Client)}\n"]
    parts += [f"{inspect.getdoc(client.Client)}\n", *_methods(client.Client)]
    for kind in (client.Files, client.File):
        parts += [f"## {kind.__name__}\n\n{inspect.getdoc(kind)}\n", *_methods(kind)]
    values = [
        name
        for name in client.__all__
        if name not in ("Client", "Files") and not name.startswith("Async")
    ]
    kinds = [(name, getattr(client, name)) for name in values]
    parts.append("## Values\n\n| name | meaning | members |\n| --- | --- | --- |")
    parts[-1] += "".join(
        f"\n| `{name}` | {_first(kind)} | {_members(kind)} |"
        for name, kind in kinds
        if not issubclass(kind, Exception)
    )
    parts.append("\n## Exceptions\n\n| name | is a | meaning |\n| --- | --- | --- |")
    parts[-1] += "".join(
        f"\n| `{name}` | {', '.join(f'`{base.__name__}`' for base in kind.__bases__)} "
        f"| {_first(kind)} |"
        for name, kind in kinds
        if issubclass(kind, Exception)
    )
    return re.sub(r"(?<!`)``(?!`)", "`", "\n".join(parts) + "\n")


def _methods(kind: type) -> Iterator[str]:
    for name, method in vars(kind).items():
        if not name.startswith("_") and inspect.isfunction(method):
            yield f"### {name}\n\n{_signature(name, method)}\n\n{inspect.getdoc(method)}\n"


def _signature(name: str, member: Any) -> str:
    signature = inspect.signature(member)
    given = [str(each) for each in signature.parameters.values() if each.name != "self"]
    kinds = [each.kind for each in signature.parameters.values() if each.name != "self"]
    if inspect.Parameter.KEYWORD_ONLY in kinds:
        given.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    text = ", ".join(given)
    answer = signature.return_annotation
    gives = "" if answer in (None, signature.empty) else f" -> {_named(answer)}"
    return f"```text\n{name}({_named(text)}){gives}\n```"


def _named(annotation: Any) -> str:
    """The name of a type without its modules."""
    text = annotation.__name__ if type(annotation) is type else str(annotation)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text)


def _first(kind: type) -> str:
    return (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ")


def _members(kind: type) -> str:
    names = [*getattr(kind, "__dataclass_fields__", ())]
    properties = inspect.getmembers(kind, lambda member: isinstance(member, property))
    names += [name for name, _ in properties]
    return ", ".join(f"`{name}`" for name in names if not name.startswith("_"))


HOST_SETTINGS_HEAD = """\
# Settings in a Django project

A Django project that installs Taskyard's apps changes their settings by one dict, `TASKYARD`, in its settings module; every key has a default. `manage.py check` names a key that is not in this table (`taskyard.E005`) and a value that does not fit (`taskyard.E001`). Our own project fills the dict from the [environment](settings.md). This page is generated from `taskyard/core/conf.py` by `python -m tools.reference`.

| key | default | meaning |
| --- | --- | --- |
"""


def host_settings() -> str:
    """The page of the dict ``TASKYARD``."""
    from taskyard.core.conf import Conf

    rows = (
        f"| `{name}` | `{field.default!r}` | {_on_a_page(field.description)} |\n"
        for name, field in Conf.model_fields.items()
    )
    return HOST_SETTINGS_HEAD + "".join(rows)


def _on_a_page(docstring: str | None) -> str:
    return " ".join((docstring or "").split()).replace("``", "`")


def compose() -> str:
    """The text of compose.yaml; it passes on every setting that is not fixed there."""
    from taskyard.server.env import NAMES

    head, begin, rest = COMPOSE.read_text().partition("# Settings of the shell")
    note, line, _ = rest.partition("\n")
    tail = rest[rest.index("    # settings: end") :]
    names = (name for name in NAMES if name not in FIXED)
    passed = "".join(f"    {name}: ${{{name}:-}}\n" for name in names)
    return head + begin + note + line + passed + tail


def export_schema() -> str:
    """The JSON Schema of a line of an export."""
    from taskyard.core.transfer import lines

    return json.dumps(lines.schema(), indent=1) + "\n"


def main() -> int:
    # The pages are in English in every locale.
    os.environ["LC_ALL"] = "C"
    COMMANDS.write_text(commands())
    LIBRARY.write_text(library())
    HOST_SETTINGS.write_text(host_settings())
    COMPOSE.write_text(compose())
    EXPORT.write_text(export_schema())
    return 0


if __name__ == "__main__":
    sys.exit(main())
