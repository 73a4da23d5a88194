"""A host project with its own Celery app, a shared task, and a handler that uses it."""

from celery import Celery, current_app, shared_task

from taskyard import task_type

host = Celery("host", broker="memory://", backend="cache+memory://")


@shared_task
def add(first: int, second: int) -> int:
    return first + second


@task_type("uses-celery")
def uses_celery() -> dict[str, str | bool]:
    sent = add.delay(1, 2)
    return {"task": add.app.main, "current": current_app.main, "ready": sent.ready()}
