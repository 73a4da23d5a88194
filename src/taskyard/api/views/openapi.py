"""The OpenAPI document, and the page that shows it."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import get_script_prefix
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.settings import patched_settings
from rest_framework.request import Request
from rest_framework.response import Response

from taskyard.api import openapi
from taskyard.api.errors import not_found
from taskyard.api.views.base import OpenView


class Schema(OpenView):
    schema = None

    def get(self, request: Request) -> Response:
        with patched_settings(openapi.SETTINGS):
            document = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
        servers = [{**server, "url": _root()} for server in document["servers"]]
        return Response(openapi.complete({**document, "servers": servers}))


def _root() -> str:
    """The path before /api: TASKYARD_BASE_PATH or "/"."""
    return get_script_prefix().removesuffix("/") or "/"


class Docs(OpenView):
    schema = None

    def get(self, request: Request) -> HttpResponse:
        return render(request._request, "taskyard/docs.html")


def nothing_here(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    """404 in JSON for all other paths under /api and all methods."""
    return not_found(request)
