"""The same Django task for each backend of ``enqueue_settings``, and a function for Celery."""

from taskyard.contrib.django_tasks.framework import task_backends


def ours(order_id: int, copies: int = 1) -> str:
    return f"{copies} of {order_id}"


def peers(order_id: int, copies: int = 1) -> str:
    return f"{copies} of {order_id}"


def plain(order_id: int, copies: int = 1) -> str:
    return f"{copies} of {order_id}"


# As ``@task`` does, in Django 6 and in its backport: a path must lead to the task.
ours = task_backends["default"].task_class(func=ours)  # type: ignore[assignment]
peers = task_backends["peer"].task_class(func=peers, backend="peer")  # type: ignore[assignment]
