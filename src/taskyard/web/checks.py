"""Django system checks: what the page needs of the project that it is installed in."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.shortcuts import resolve_url
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve
from django.utils.module_loading import import_string

from taskyard.web import project


@register(Tags.compatibility)
def check_project(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    return [*_check_middleware(), *_check_apps(), *_check_login()]


def _check_middleware() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if not _has_middleware(SessionMiddleware):
        found.append(
            Error(
                "The page needs sessions.",
                hint="Add django.contrib.sessions.middleware.SessionMiddleware to MIDDLEWARE.",
                id="taskyard_web.E001",
            )
        )
    if not _has_middleware(AuthenticationMiddleware):
        found.append(
            Error(
                "The page needs to know who has signed in.",
                hint="Add django.contrib.auth.middleware.AuthenticationMiddleware to MIDDLEWARE, "
                "after the sessions. If a middleware of yours sets request.user, silence this.",
                id="taskyard_web.E002",
            )
        )
    if not _has_middleware(MessageMiddleware):
        found.append(
            Warning(
                "Without Django's messages the page does not say what an action did, or why it "
                "was refused.",
                hint="Add django.contrib.messages to INSTALLED_APPS and "
                "django.contrib.messages.middleware.MessageMiddleware to MIDDLEWARE.",
                id="taskyard_web.W001",
            )
        )
    return found


def _check_apps() -> list[CheckMessage]:
    found: list[CheckMessage] = []
    try:
        get_template("taskyard/web/base.html")
    except TemplateDoesNotExist:
        found.append(
            Error(
                "Django does not find the templates of the page.",
                hint="Set APP_DIRS to True, or add the loader of app directories, in the "
                "DjangoTemplates of TEMPLATES.",
                id="taskyard_web.E003",
            )
        )
    for app, effect in (
        ("django_htmx", "the form shows no request, and the overview of staff stands still"),
        ("django.contrib.staticfiles", "{% static %} names files that no URL serves"),
    ):
        if not apps.is_installed(app):
            found.append(
                Warning(
                    f"Without {app} in INSTALLED_APPS {effect}.",
                    hint=f"Add {app} to INSTALLED_APPS.",
                    id="taskyard_web.W002",
                )
            )
    return found


def _check_login() -> list[CheckMessage]:
    """A warning if the page would redirect to a login page that the project does not have."""
    try:
        path = resolve_url(settings.LOGIN_URL).partition("?")[0]
        if not path.startswith("/"):  # another site signs in
            return []
        resolve(f"/{path.removeprefix(get_script_prefix())}")
    except (Resolver404, NoReverseMatch):
        own = "taskyard_web:sign-in" if project.has_accounts() else "admin:login"
        return [
            Warning(
                f"LOGIN_URL is {settings.LOGIN_URL!r}, and the project has no such URL.",
                hint=f"Name your login page, for example LOGIN_URL = {own!r}. If a proxy serves "
                "it, silence this.",
                id="taskyard_web.W003",
            )
        ]
    return []


def _has_middleware(middleware: type) -> bool:
    classes = map(import_string, settings.MIDDLEWARE)
    return any(isinstance(each, type) and issubclass(each, middleware) for each in classes)
