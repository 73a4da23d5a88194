"""The system checks of the page: one for each thing that a project lacks."""

import re
from typing import Any

import pytest
from django.core.checks import CheckMessage

from taskyard.web import checks
from tests.servers import ROOT

PAGE = ROOT / "docs/reference/checks.md"


def found() -> list[CheckMessage]:
    return checks.check_project(None)


def only(code: str) -> CheckMessage:
    """The only message, which has this code and a hint."""
    (message,) = found()
    assert message.id == f"taskyard_web.{code}"
    assert message.hint
    return message


def test_our_own_project_lacks_nothing() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("middleware", "code", "said"),
    [
        ("SiteSession", "E001", "SessionMiddleware"),
        ("SiteAuthentication", "E002", "AuthenticationMiddleware"),
        ("SiteMessages", "W001", "django.contrib.messages"),
    ],
)
def test_a_middleware_is_missing(settings: Any, middleware: str, code: str, said: str) -> None:
    settings.MIDDLEWARE = [each for each in settings.MIDDLEWARE if not each.endswith(middleware)]
    assert said in (only(code).hint or "")


def test_a_middleware_may_be_a_function(settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.shortcuts.redirect"]
    assert found() == []


def test_the_templates_are_not_found(settings: Any) -> None:
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "APP_DIRS": False}]
    assert "APP_DIRS" in (only("E003").hint or "")


@pytest.mark.parametrize("app", ["django_htmx", "django.contrib.staticfiles"])
def test_an_app_is_missing(settings: Any, app: str) -> None:
    settings.INSTALLED_APPS = [each for each in settings.INSTALLED_APPS if each != app]
    assert app in only("W002").msg


@pytest.mark.parametrize("address", ["/accounts/login/", "no-such-name", "/nowhere/?a=b"])
def test_the_login_page_is_missing(settings: Any, address: str) -> None:
    settings.LOGIN_URL = address
    assert address in only("W003").msg


@pytest.mark.parametrize("address", ["https://sso.example.org/", "/sign-in/?a=b", "admin:login"])
def test_the_login_page_may_be_any_that_exists(settings: Any, address: str) -> None:
    settings.LOGIN_URL = address
    assert found() == []


def test_each_check_is_documented() -> None:
    source = (ROOT / "src/taskyard/web/checks.py").read_text()
    codes = set(re.findall(r"taskyard_web\.[EW][0-9]{3}", source))
    assert codes == set(re.findall(r"taskyard_web\.[EW][0-9]{3}", PAGE.read_text()))
