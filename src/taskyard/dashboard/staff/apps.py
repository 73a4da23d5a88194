"""The Django app of the staff pages: they bring their own templates and texts."""

from django.apps import AppConfig


class StaffConfig(AppConfig):
    name = "taskyard.dashboard.staff"
    label = "dashboard_staff"
    verbose_name = "Dashboard for staff"
