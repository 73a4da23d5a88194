"""The Django app of the worker: registers how workers are notified of work."""

from django.apps import AppConfig


class WorkerConfig(AppConfig):
    name = "taskyard.worker"
    label = "taskyard_worker"

    def ready(self) -> None:
        from taskyard.core import notifications
        from taskyard.worker import wakeup

        notifications.register_queue_notifier(wakeup.notify)
