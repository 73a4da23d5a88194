"""A process of the host project in ``shop.py`` that submits tasks one by one.

``python -m`` this module with their number. It prints for each how many milliseconds the submit
took, and how many the task waited.
"""

import sys
import time

import django

# Every process of a Celery project loads the module of its app, most of them before Django.
from tests.contrib.celery import shop  # noqa: F401


def main(count: int) -> None:
    django.setup()
    from taskyard import jobs

    for _ in range(count):
        began = time.monotonic()
        task_id = jobs.submit("sum", {"numbers": [1, 2]}).id
        took = time.monotonic() - began
        while (task := jobs.get(task_id)).finished_at is None:
            time.sleep(0.01)
        assert task.started_at
        waited = task.started_at - task.created_at
        sys.stdout.write(f"{took * 1000} {waited.total_seconds() * 1000}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
