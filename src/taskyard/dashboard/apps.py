"""The Django app of the page: templates, static files, texts."""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    name = "taskyard.dashboard"
    label = "dashboard"
    verbose_name = "Dashboard"
