"""PostmanCollection.json works after an import: every endpoint answers in a run."""

import json
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.urls import Resolver404, URLResolver, get_resolver, resolve

from tests import npm
from tests.live_system import Live

pytestmark = pytest.mark.servers
HERE = Path(__file__).parent
ROOT = HERE.parent.parent
COLLECTION = ROOT / "PostmanCollection.json"
# A stream of all tasks does not end, and newman waits for the end of a response. The collection has
# a request that is refused; tests/contract/test_live.py reads the stream.
ENDLESS = {("GET", r"api/tasks/events/?\Z")}
# What answers 409 without S3, 404 without single sign-on, or 403 without a mail server; a file of a
# link, because the built-in task types save none.
UNSERVED = {
    ("GET", r"api/sso/?\Z"),
    ("POST", r"api/files/presign/?\Z"),
    ("GET", r"api/shared/files/(?P<file_id>[0-9]{1,19})/content/?\Z"),
    ("POST", r"api/password/reset/?\Z"),
    ("POST", r"api/password/reset/confirm/?\Z"),
}
STAFF = {"staff_username": "postman-staff", "staff_password": secrets.token_urlsafe(16)}
# Addresses of middleware or another application, which no URL pattern names.
BESIDE_THE_API = ("/livez", "/readyz", "/metrics")
CATCH_ALL = "api/"


@dataclass(frozen=True)
class Request:
    """One request of a run and its outcome. `checks` are the titles of its tests."""

    name: str
    method: str
    path: str
    status: int
    checks: tuple[str, ...]


@dataclass(frozen=True)
class NewmanRun:
    requests: list[Request]
    failures: list[str]

    def succeeded(self) -> Iterator[Request]:
        return (request for request in self.requests if 200 <= request.status < 300)


def newman() -> Path:
    """The path of newman, which is installed from the lock file the first time."""
    return npm.installed(HERE) / "newman/bin/newman.js"


def enter_staff(live: Live) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(live.env, "DJANGO_SUPERUSER_PASSWORD", STAFF["staff_password"])
        name = f"--username={STAFF['staff_username']}"
        live.command("createsuperuser", "--no-input", name, "--email=staff@example.org")


@pytest.fixture(scope="module")
def run(live: Live, tmp_path_factory: pytest.TempPathFactory) -> NewmanRun:
    """A live system with a staff user and a service account, so that their requests succeed too."""
    enter_staff(live)
    scopes = ("tasks:submit", "tasks:read")
    key = live.command("service-account", "postman-shop", "--key", *scopes).strip()
    return newman_run(live, tmp_path_factory, (), service_key=key, **STAFF)


def newman_run(
    live: Live,
    tmp_path_factory: pytest.TempPathFactory,
    folders: tuple[str, ...],
    **variables: str,
) -> NewmanRun:
    """Run the whole collection, or some of its folders."""
    directory = tmp_path_factory.mktemp("newman")
    report = directory / "report.json"
    # Without the developer's own settings: no proxy for 127.0.0.1, no ~/.postman/newmanrc.
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    environment["HOME"] = str(directory)
    said = npm.run_node(
        [
            *(str(newman()), "run", str(COLLECTION), "--env-var", f"base_url={live.url}"),
            *(f"--env-var={name}={value}" for name, value in variables.items()),
            *(f"--folder={folder}" for folder in folders),
            *("--reporters", "json", "--reporter-json-export", str(report)),
            *("--timeout", "240000", "--timeout-request", "30000"),
        ],
        environment,
        cwd=directory,
        fails=True,
    )
    assert report.exists(), said
    return _read(json.loads(report.read_text())["run"])


def _read(report: dict[str, Any]) -> NewmanRun:
    return NewmanRun(
        requests=[
            Request(
                name=execution["item"]["name"],
                method=execution["request"]["method"],
                path="/" + "/".join(execution["request"]["url"].get("path", [])),
                status=execution.get("response", {}).get("code", 0),
                checks=tuple(each["assertion"] for each in execution.get("assertions", [])),
            )
            for execution in report["executions"]
        ],
        failures=[
            f"{failure.get('source', {}).get('name', 'the run')}: "
            f"{failure['error'].get('test', failure.get('at'))}: {failure['error']['message']}"
            for failure in report["failures"]
        ],
    )


def items(folder: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every request of the collection, in the order of a run."""
    for each in folder["item"]:
        if "item" in each:
            yield from items(each)
        else:
            yield each


def routes(patterns: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every route, written as ResolverMatch.route has it, and its view."""
    for pattern in patterns:
        route = prefix + str(pattern.pattern).removeprefix("^")
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, route)
        else:
            yield route, pattern.callback


def methods(view: Any) -> set[str]:
    view_class = getattr(view, "view_class", None)
    if view_class is None:
        return {"GET"}
    names = {name for name in view_class.http_method_names if hasattr(view_class, name)}
    return {name.upper() for name in names - {"head", "options"}}


def route_of(path: str) -> str:
    try:
        return resolve(path).route
    except Resolver404:
        return path


def test_every_assertion_of_the_collection_holds(run: NewmanRun) -> None:
    assert not run.failures, "\n".join(run.failures)


def test_every_assertion_holds_for_who_is_no_staff(
    live: Live, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folders = ("1. Регистрация и авторизация", "6. Очереди (для сотрудников)")
    run = newman_run(live, tmp_path_factory, folders)
    assert not run.failures, "\n".join(run.failures)
    queues = [each.status for each in run.requests if each.path.startswith("/api/queues/")]
    assert queues == [403, 403, 403]


def test_every_request_is_sent_and_its_status_and_answer_are_checked(run: NewmanRun) -> None:
    known = [item["name"] for item in items(json.loads(COLLECTION.read_text()))]
    # A name is what pm.execution.setNextRequest goes by.
    assert not [name for name, times in Counter(known).items() if times > 1]
    assert list(dict.fromkeys(request.name for request in run.requests)) == known
    everywhere = set.intersection(*(set(request.checks) for request in run.requests))
    for request in run.requests:
        own = [title for title in request.checks if title not in everywhere]
        assert any(title.startswith(f"status is {request.status}") for title in own), request
        assert len(own) >= 2, request


def test_every_url_pattern_of_the_api_is_answered_in_the_collection(run: NewmanRun) -> None:
    served = {
        (method, route)
        for route, view in routes(get_resolver().url_patterns)
        if route.startswith(CATCH_ALL) and route != CATCH_ALL
        for method in methods(view)
    }
    assert len(served) >= 16
    assert served >= ENDLESS
    succeeded = {(each.method, route_of(each.path)) for each in run.succeeded()}
    assert served - succeeded == ENDLESS | UNSERVED
    assert {(each.method, route_of(each.path)) for each in run.requests} >= ENDLESS | UNSERVED


def test_every_documented_operation_is_answered_in_the_collection(
    run: NewmanRun, live: Live
) -> None:
    answered = [
        (request.method, request.path)
        for request in run.requests
        if 200 <= request.status < 300
        or (request.method, route_of(request.path)) in ENDLESS | UNSERVED
    ]
    document = httpx.get(f"{live.url}/api/schema/", timeout=30).json()
    missing = [
        (method, path)
        for path, operations in document["paths"].items()
        for method in operations
        if not any(
            method.upper() == sent and re.fullmatch(_any_of(path), address)
            for sent, address in answered
        )
    ]
    assert document["paths"]
    assert not missing


def _any_of(path: str) -> str:
    """A regular expression for the addresses of a path of the OpenAPI document."""
    parts = re.split(r"\{[^}]+\}", path.rstrip("/"))
    return "[^/]+".join(re.escape(part) for part in parts) + "/?"


def test_what_stands_beside_the_api_is_answered_in_the_collection(
    run: NewmanRun, live: Live
) -> None:
    served = {
        path
        for path in BESIDE_THE_API
        if httpx.get(f"{live.url}{path}", timeout=30).status_code != 404
    }
    assert {"/livez", "/readyz"} <= served
    assert served - {request.path for request in run.succeeded()} == set()


def test_the_collection_is_one_that_anybody_can_import() -> None:
    collection = json.loads(COLLECTION.read_text())
    schema = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
    assert collection["info"]["schema"] == schema
    variables = {each["key"]: each["value"] for each in collection["variable"]}
    assert variables["base_url"] == "http://127.0.0.1:8000"
    # An export after a run would contain the names and tokens of that run.
    kept = {name for name, value in variables.items() if value}
    assert kept == {"base_url", "polls", "task_schema"}
    assert not re.search(r"eyJ[\w-]+\.[\w-]+\.", COLLECTION.read_text())
    for item in items(collection):
        assert item["request"]["url"]["raw"].startswith("{{base_url}}/"), item["name"]
        assert item["request"]["description"], item["name"]


def test_the_lock_file_names_versions_and_no_registry() -> None:
    lock = json.loads((HERE / "package-lock.json").read_text())
    packages = [package for path, package in lock["packages"].items() if path]
    assert all(package["integrity"] and "resolved" not in package for package in packages)
    wanted = json.loads((HERE / "package.json").read_text())["devDependencies"]
    assert wanted == {"newman": lock["packages"]["node_modules/newman"]["version"]}
