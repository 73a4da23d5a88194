"""Addresses that raise errors, for tests of the error responses."""

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.urls import include, path


def faulty(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("secret")


def away(request: HttpRequest) -> HttpResponse:
    raise OperationalError("secret")


urlpatterns = [
    path("", include("taskyard.web.urls")),
    path("api/faulty", faulty),
    path("api/away", away),
    path("away", away),
    path("faulty", faulty),
]

handler500 = "taskyard.api.errors.server_error"
