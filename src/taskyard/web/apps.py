"""The Django app of the web pages: templates, static files, translations, checks."""

from importlib import import_module

from django.apps import AppConfig


class WebConfig(AppConfig):
    name = "taskyard.web"
    label = "taskyard_web"
    verbose_name = "Web"

    def ready(self) -> None:
        import_module("taskyard.web.checks")
