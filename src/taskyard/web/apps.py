"""The Django app of the web pages: templates, static files, translations."""

from django.apps import AppConfig


class WebConfig(AppConfig):
    name = "taskyard.web"
    label = "web"
    verbose_name = "Web"
