"""From a bell to finished tasks: the only room that knows Celery.

``celery -A taskyard.worker worker`` finds the app here.
"""

from taskyard.worker.app import app

__all__ = ["app"]
