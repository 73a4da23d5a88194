"""What the page asks about the project that it is installed in."""

from django.apps import apps
from django.conf import settings

from taskyard.core.languages import LANGUAGES

THEME_COOKIE = "taskyard_theme"


def has_accounts() -> bool:
    """Whether users are ours: the page then has forms to sign in, register and so on."""
    return apps.is_installed("taskyard.accounts")


def has_files() -> bool:
    """Whether tasks have files: the page then has forms to upload them, and lists of them."""
    return apps.is_installed("taskyard.files")


def has_api() -> bool:
    """Whether the API is here: the page of a link reads the task from it."""
    return apps.is_installed("taskyard.api")


def has_staff_pages() -> bool:
    return apps.is_installed("taskyard.web.staff")


def offered_languages() -> list[tuple[str, str]]:
    """The languages to choose from. None if the project has others: the choice is then its own."""
    offered = [(code, str(name)) for code, name in settings.LANGUAGES]
    return offered if all(code in LANGUAGES for code, _ in offered) and len(offered) > 1 else []
