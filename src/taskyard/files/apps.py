"""The Django app of files."""

from importlib import import_module

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class FilesConfig(AppConfig):
    name = "taskyard.files"
    label = "taskyard_files"
    verbose_name = _("Files")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from taskyard.core import cleanup, followers
        from taskyard.files.follower import Follower
        from taskyard.files.sweep import clean_up

        import_module("taskyard.files.checks")
        followers.follow_files(Follower())
        cleanup.register_slow(clean_up)
