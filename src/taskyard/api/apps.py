"""The Django app of the HTTP API: its texts, its page and its templates."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "taskyard.api"
    label = "api"
    verbose_name = "API"
