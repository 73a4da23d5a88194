"""The OpenAPI document, and the page that shows it."""

from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template import Context, Engine
from django.urls import URLPattern, get_script_prefix, include, path, reverse
from django.utils import translation
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.settings import patched_settings
from rest_framework.request import Request
from rest_framework.response import Response

from taskyard.api import openapi
from taskyard.api.errors import nothing_found
from taskyard.api.views.base import OpenView
from taskyard.catalog.task_type import registry
from taskyard.core.languages import shown_language

# Independent of the project's TEMPLATES.
_TEMPLATES = Engine(
    dirs=[str(Path(__file__).parent.parent / "templates")],
    libraries={"static": "django.templatetags.static"},
)
# drf-spectacular keeps its settings for the whole process.
_generating = Lock()


class Schema(OpenView):
    is_documented = False

    def get(self, request: Request) -> Response:
        names = tuple(task_type.name for task_type in registry.all())
        with _generating:
            return Response(_document(get_script_prefix(), _mount(request), names))


class Docs(OpenView):
    is_documented = False

    def get(self, request: Request) -> HttpResponse:
        page = _TEMPLATES.get_template("taskyard/docs.html")
        return HttpResponse(page.render(Context({"schema": _schema_path(request)})))


def nothing_here(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """404 in JSON for all other paths of the API and all methods."""
    language = shown_language()
    with translation.override(language):
        response = nothing_found(request)
    response.headers["Content-Language"] = language
    return response


def _mount(request: Request) -> str:
    """The path of the API below the script prefix, without its first slash."""
    return _schema_path(request).removeprefix(get_script_prefix()).removesuffix("schema")


def _schema_path(request: Request) -> str:
    # A project may include our URLs below a namespace of its own.
    match = request.resolver_match
    return reverse(f"{match.namespace if match else 'taskyard_api'}:schema")


@lru_cache(maxsize=8)
def _document(script_prefix: str, mount: str, task_types: tuple[str, ...]) -> dict[str, Any]:
    """The document that these task types make."""
    return generate(script_prefix, mount)


def generate(script_prefix: str, mount: str) -> dict[str, Any]:
    """The document of our views alone, without those of the project."""
    patterns = [path(mount, include(list(_described_patterns())))]
    with patched_settings(openapi.settings_for(f"/{mount}")):
        generator = SchemaGenerator(patterns=patterns)  # type: ignore[no-untyped-call]
        document = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    root = script_prefix.removesuffix("/") or "/"
    servers = [{**server, "url": root} for server in document["servers"]]
    return openapi.complete({**document, "servers": servers})


def _described_patterns() -> Iterator[URLPattern]:
    """The URL patterns of our views, as drf-spectacular describes views."""
    for pattern in import_module("taskyard.api.urls").urlpatterns:
        view = getattr(pattern.callback, "cls", None)
        if view is not None and view.is_documented:
            described: Any = type(view.__name__, (view,), {"schema": AutoSchema()})
            yield URLPattern(pattern.pattern, described.as_view())
