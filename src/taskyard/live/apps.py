"""The Django app of the streams: registers how changes are published."""

from django.apps import AppConfig


class LiveConfig(AppConfig):
    name = "taskyard.live"
    label = "taskyard_live"

    def ready(self) -> None:
        from taskyard.core import notifications
        from taskyard.live import hints

        notifications.register_change_publisher(hints.publish)
