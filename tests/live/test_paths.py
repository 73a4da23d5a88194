"""The paths of streams and waits are those of their views in urls.py, and of nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.urls import resolve

from taskyard.api.prefer_wait import PreferWait
from taskyard.api.shared import SharedStreams
from taskyard.api.streams import TaskStreams
from taskyard.live.asgi import Receive, Scope, Send
from taskyard.live.downloads import Download
from taskyard.live.hub import Hub
from taskyard.live.paths import live_applications
from taskyard.live.streams import SSEEndpoint
from taskyard.live.uploads import Upload
from taskyard.web.streams import PageStreams
from tests.api_client import ROOT

HAS_PAGE = apps.is_installed("taskyard.web")


async def no_app(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError


@pytest.fixture
def stream_of() -> Callable[..., type[SSEEndpoint] | None]:
    """The endpoint that serves a request, or None."""
    endpoints = [
        application(Hub(None), no_app)
        for application in live_applications()
        if issubclass(application, SSEEndpoint)
    ]

    def endpoint_of(path: str, method: str = "GET") -> type[SSEEndpoint] | None:
        scope = {"method": method, "path": path}
        return next((type(one) for one in endpoints if one.matches(scope)), None)

    return endpoint_of


@pytest.fixture
def waits() -> Callable[..., bool]:
    prefer_wait = PreferWait(Hub(None), no_app)

    def matches(method: str, path: str, prefer: bytes = b"wait=5") -> bool:
        headers = [(b"prefer", prefer)]
        return prefer_wait.matches({"method": method, "path": path, "headers": headers})

    return matches


STREAMS: dict[str, Any] = {
    f"{ROOT}tasks/events": TaskStreams,
    f"{ROOT}tasks/events/": TaskStreams,
    f"{ROOT}tasks/17/events": TaskStreams,
    f"{ROOT}tasks/9999999999999999999/events/": TaskStreams,
}
OTHERS = [
    "/", "", ROOT, f"{ROOT}tasks/", f"{ROOT}tasks/17/", f"{ROOT}tasks/17/logs/", "/tasks/17/",
    f"{ROOT}tasks/events//", f"{ROOT}tasks/events/\n", f"{ROOT}tasks//events/", f"{ROOT}events/",
    f"{ROOT}tasks/x/events/", f"{ROOT}tasks/-1/events/",
    f"{ROOT}tasks/99999999999999999999/events/", f"{ROOT}tasks/\u0661/events/",
    f"{ROOT}tasks/events/1/", f"/x{ROOT}tasks/events/", "//events/",
    "/tasks/events/", "/events/x", "/events//", "/x/events/", "events/",
]  # fmt: skip
if HAS_PAGE:
    STREAMS |= {"/events": PageStreams, "/events/": PageStreams}
else:
    OTHERS += ["/events/", "/api/tasks/events/"]


@pytest.mark.parametrize(("path", "endpoint"), STREAMS.items())
def test_a_get_or_head_of_these_paths_is_for_a_stream(
    stream_of: Any, path: str, endpoint: type[SSEEndpoint]
) -> None:
    assert stream_of(path) is stream_of(path, "HEAD") is endpoint
    for method in ("POST", "OPTIONS", "DELETE", "get"):
        assert stream_of(path, method) is None


@pytest.mark.parametrize("path", OTHERS)
def test_another_path_is_not_for_a_stream(stream_of: Any, path: str) -> None:
    assert stream_of(path) is None


def test_only_these_requests_wait(waits: Any) -> None:
    for path in ("tasks", "tasks/", "tasks/create", "tasks/create/"):
        assert waits("POST", ROOT + path)
        assert not waits("GET", ROOT + path)
        assert not waits("POST", ROOT + path, b"wait=soon")
    for path in ("tasks/17", "tasks/17/"):
        assert waits("GET", ROOT + path)
        assert not waits("POST", ROOT + path)
    for path in ("tasks/bulk/", "tasks/17/retry/", "tasks/create/x"):
        assert not waits("POST", ROOT + path)
    for path in ("tasks/17/logs/", "tasks/\u0661/", "tasks/17//"):
        assert not waits("GET", ROOT + path)
    assert not waits("POST", "/tasks/")
    assert not waits("GET", "/tasks/17/")


@pytest.mark.urls("tests.live.more_urls")
def test_a_path_that_another_urls_py_gives_a_view_is_a_stream_or_waits(
    stream_of: Any, waits: Any
) -> None:
    for path in ("/jobs/v1/tasks/events/", "/jobs/v1/tasks/17/events", "/more/changes"):
        assert stream_of(path) is TaskStreams
    assert stream_of("/more/17/changes/") is TaskStreams
    assert stream_of("/events/") is (PageStreams if HAS_PAGE else None)
    assert waits("POST", "/jobs/v1/tasks/create/")
    assert waits("GET", "/jobs/v1/tasks/17")
    assert waits("GET", "/more/17/")
    for path in (f"{ROOT}tasks/events/", "/more/x/changes/", "/more/changes/x"):
        assert stream_of(path) is None
    assert not waits("POST", f"{ROOT}tasks/create/")
    assert not waits("POST", "/more/17/")


def test_django_resolves_the_same_paths() -> None:
    for path, endpoint in STREAMS.items():
        if path != "/events":  # a middleware adds the slash
            view: Any = resolve(path).func
            assert getattr(view, "view_class", view).live_application is endpoint
    of_files = {Upload, Download} if apps.is_installed("taskyard.files") else set()
    assert {*live_applications()} == {*STREAMS.values(), PreferWait, SharedStreams, *of_files}
