"""The Django app of the staff pages: templates, static files, translations."""

from django.apps import AppConfig


class StaffConfig(AppConfig):
    name = "taskyard.web.staff"
    label = "taskyard_web_staff"
    verbose_name = "Web for staff"
