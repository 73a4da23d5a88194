"""From a wake-up to finished tasks: the only package that knows Celery.

``celery -A taskyard.worker worker`` finds the app here.
"""

from taskyard.worker.celery_app import app

__all__ = ["app"]
