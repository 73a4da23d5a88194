"""The reference pages name exactly the settings, commands, addresses and codes of the code."""

import ast
import inspect
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, get_args

from django.urls import URLPattern, URLResolver, get_resolver

from taskyard import Run, task_type
from taskyard.core import messages
from taskyard.core.errors import Rejected
from taskyard.core.transfer import lines
from taskyard.core.types import LossReason
from taskyard.server import cli, doctor, env
from tests.docs.pages import REFERENCE, ROOT, named, source_trees, table
from tools import reference

LEVELS = ("debug", "info", "warning", "error", "exception", "critical")
OTHER_ADDRESSES = {"/livez", "/readyz"}  # a middleware answers them


def test_settings_is_the_table_that_the_command_prints() -> None:
    page = REFERENCE / "settings.md"
    assert env.markdown() in page.read_text(), "put the output of `taskyard settings` there"


def test_compose_passes_every_setting_on() -> None:
    assert reference.COMPOSE.read_text() == reference.compose(), "python -m tools.reference"
    for name in env.NAMES:
        passed = f"    {name}: ${{{name}:-}}\n" in reference.COMPOSE.read_text()
        assert passed != (name in reference.FIXED)


def test_the_format_of_an_export_is_there() -> None:
    page = REFERENCE / "export-format.md"
    assert reference.EXPORT.read_text() == reference.export_schema(), "python -m tools.reference"
    for kind in get_args(lines.Line):
        assert set(kind.model_fields) <= named(page), kind


def test_every_command_is_there() -> None:
    documented = {name.split()[1] for name in named(REFERENCE / "commands.md") if _is_command(name)}
    assert documented == set(cli.COMMANDS)


def test_every_check_of_doctor_is_there() -> None:
    assert {check.__name__ for check in doctor.CHECKS} <= named(REFERENCE / "commands.md")


def test_every_make_target_is_there() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    names = named(REFERENCE / "commands.md")
    assert {name.split()[1] for name in names if name.startswith("make ")} == set(phony.split())


def test_every_endpoint_is_there_with_its_methods() -> None:
    documented = {
        row[1].strip("`"): {method.lower() for method in row[0].split(", ")}
        for row in table(REFERENCE / "endpoints.md")
        if len(row) == 3 and row[1].startswith("`/")
    }
    existing = dict(_addresses(get_resolver().url_patterns, "/"))
    assert set(documented) == set(existing) | OTHER_ADDRESSES
    for address, methods in existing.items():
        assert methods is None or methods == documented[address], address


def test_every_option_of_a_task_type_is_there_with_its_default() -> None:
    rows = {row[0]: row[1] for row in table(REFERENCE / "task-types.md") if len(row) == 3}
    for name, parameter in inspect.signature(task_type).parameters.items():
        assert f"`{name}`" in rows
        if isinstance(parameter.default, (int, str)) and name != "result_limit":
            assert rows[f"`{name}`"].strip("`") == str(parameter.default)


def test_every_public_member_of_run_is_there() -> None:
    documented = {name.partition("(")[0] for name in named(REFERENCE / "task-types.md")}
    now = datetime.now(UTC)
    given = vars(Run(task_id=1, attempt=1, started_at=now, now=now))
    members = {name for name in (*vars(Run), *given) if not name.startswith("_")}
    assert members <= documented


def test_every_error_code_is_there() -> None:
    codes = named(REFERENCE / "errors-and-logs.md")
    assert set(messages.MESSAGES) <= codes
    assert {each.code for each in _subclasses(Rejected)} <= codes
    assert {verdict.value for verdict in LossReason} <= codes
    assert set(_codes_in_the_source()) <= codes


def test_every_log_event_is_there() -> None:
    assert set(_log_events()) <= named(REFERENCE / "errors-and-logs.md")


def _is_command(name: str) -> bool:
    return bool(re.fullmatch(r"taskyard [a-z-]+( [A-Z]+)?", name))


def _addresses(patterns: list[Any], prefix: str) -> Iterator[tuple[str, set[str] | None]]:
    """Each address as users write it, with the methods that the view itself defines."""
    for pattern in patterns:
        route = str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            if route == "admin/":
                yield f"{prefix}{route}", None
            else:
                yield from _addresses(pattern.url_patterns, prefix + route)
        elif isinstance(pattern, URLPattern) and (route or prefix != "/api/"):
            plain = re.sub(r"\(\?P<(\w+)>[^)]+\)", r"<\1>", route)
            plain = re.sub(r"<\w+:(\w+)>", r"<\1>", plain)
            # With a slash in the API, without one for probes.
            plain = plain.removeprefix("^").replace(r"/?\Z", "/" if prefix == "/api/" else "")
            yield prefix + plain, _methods(pattern.callback)


def _methods(view: Any) -> set[str] | None:
    methods = {"get", "post", "put", "patch", "delete"}
    found = getattr(view, "view_class", None) or getattr(view, "cls", None)
    if found is None or not found.__module__.startswith("taskyard"):
        return None
    return {method for method in methods if hasattr(found, method)}


def _subclasses(kind: type[Rejected]) -> Iterator[type[Rejected]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def _trees() -> Iterator[ast.AST]:
    return (tree for path, tree in source_trees() if "migrations" not in path.parts)


def _codes_in_the_source() -> Iterator[str]:
    """The codes of errors and ends that are string literals, and those of DRF's exceptions."""
    place = {"Problem": 1, "FieldError": 1, "InvalidResult": 0, "end": 1, "_try_again": 3}
    for tree in _trees():
        for node in ast.walk(tree):
            match node:
                case ast.Assign(
                    targets=[ast.Name(id="default_code")], value=ast.Constant(value=str(code))
                ):
                    yield code
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            given = [*node.args[place[name] : place[name] + 1]] if name in place else []
            given += [each.value for each in node.keywords if each.arg == "error_code"]
            for value in given:
                if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value:
                    yield value.value


def _log_events() -> Iterator[str]:
    for tree in _trees():
        for node in ast.walk(tree):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="logger"), attr=level),
                    args=[ast.Constant(value=str(event)), *_],
                ) if level in LEVELS:
                    yield event.removesuffix(": %s")


def test_the_scans_see_something() -> None:
    codes = set(_codes_in_the_source())
    assert {"stream_needs_asgi", "cancelled_by_handler", "retry", "result_too_large"} <= codes
    assert {"task taken back", "process ended"} <= set(_log_events())
