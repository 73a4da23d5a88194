"""The Django app of the web pages: templates, static files, translations, checks."""

from importlib import import_module

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured


class WebConfig(AppConfig):
    name = "taskyard.web"
    label = "taskyard_web"
    verbose_name = "Web"

    def import_models(self) -> None:
        # As in taskyard.api: without these models Django cannot load the addresses to check.
        if not apps.is_installed("taskyard.core"):
            raise ImproperlyConfigured("taskyard.web needs taskyard.core in INSTALLED_APPS.")
        super().import_models()

    def ready(self) -> None:
        import_module("taskyard.web.checks")
