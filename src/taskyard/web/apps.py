"""The Django app of the page: templates, static files, texts."""

from django.apps import AppConfig


class WebConfig(AppConfig):
    name = "taskyard.web"
    label = "web"
    verbose_name = "Web"
