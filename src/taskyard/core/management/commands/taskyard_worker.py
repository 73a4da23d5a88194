"""`python manage.py taskyard_worker`: run a worker of this project."""

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    help = "Runs a worker: Celery's, with the settings of this project. SIGTERM drains and ends it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--concurrency", type=int, help="processes; by default one a core")
        parser.add_argument("--loglevel", default="INFO", help="if LOGGING has no root handler")

    def handle(self, *args: Any, **options: Any) -> None:
        # Another program, because only `taskyard.worker` imports Celery. It imports the project's
        # modules from where `manage.py` does.
        known = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([sys.path[0], *([known] if known else [])])
        command = [
            *(sys.executable, "-m", "celery", "--app", "taskyard.worker", "worker"),
            *("--pool", "prefork", "--loglevel", options["loglevel"]),
        ]
        if options["concurrency"] is not None:
            command += ["--concurrency", str(options["concurrency"])]
        sys.stdout.flush()
        os.execv(sys.executable, command)  # noqa: S606
