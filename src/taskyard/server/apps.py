"""The Django app of our own project: what only it may do."""

from django.apps import AppConfig


class ServerConfig(AppConfig):
    name = "taskyard.server"
    label = "taskyard_server"

    def ready(self) -> None:
        from taskyard.core import cleanup
        from taskyard.server import sessions

        cleanup.register(sessions.delete_expired)
