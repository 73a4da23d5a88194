"""/favicon.ico, which browsers request without a link."""

from functools import cache
from pathlib import Path

from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse

DAY_SECONDS = 24 * 3600


def favicon(request: HttpRequest) -> HttpResponse:
    headers = {"Cache-Control": f"public, max-age={DAY_SECONDS}"}
    return HttpResponse(_picture(), content_type="image/svg+xml", headers=headers)


@cache
def _picture() -> bytes:
    return Path(str(finders.find("taskyard/web/icon.svg"))).read_bytes()
