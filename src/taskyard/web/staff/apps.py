"""The Django app of the staff pages: they bring their own templates and texts."""

from django.apps import AppConfig


class StaffConfig(AppConfig):
    name = "taskyard.web.staff"
    label = "web_staff"
    verbose_name = "Web for staff"
