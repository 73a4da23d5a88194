"""The Django app of the HTTP API, with its translations, static files and templates."""

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured


class ApiConfig(AppConfig):
    name = "taskyard.api"
    label = "taskyard_api"
    verbose_name = "API"

    def import_models(self) -> None:
        # Not a system check: without these models Django cannot load the addresses to check. Not
        # in ``ready``, because that of the admin may come first and import our module ``admin``.
        if not apps.is_installed("taskyard.core"):
            raise ImproperlyConfigured("taskyard.api needs taskyard.core in INSTALLED_APPS.")
        super().import_models()
