"""The Django apps that only our own project installs."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin


class ServerConfig(AppConfig):
    name = "taskyard.server"
    label = "taskyard_server"

    def ready(self) -> None:
        from django.contrib.sessions.backends.db import SessionStore

        from taskyard.core import cleanup

        cleanup.register(SessionStore.clear_expired)


class ThrottledAdmin(admin.AdminConfig):
    """Django's admin with our login form."""

    default = False
    default_site = "taskyard.server.admin_site.Site"
