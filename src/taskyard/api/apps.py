"""The Django app of the HTTP API, with its translations, static files and templates."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "taskyard.api"
    label = "taskyard_api"
    verbose_name = "API"
