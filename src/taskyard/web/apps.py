"""The Django app of the web pages: templates, static files, translations."""

from django.apps import AppConfig


class WebConfig(AppConfig):
    name = "taskyard.web"
    label = "taskyard_web"
    verbose_name = "Web"
