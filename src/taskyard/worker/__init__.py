"""From a wake-up to finished tasks: the only package that imports Celery.

``celery -A taskyard.worker worker`` finds the Celery app here. It is loaded when it is first used,
so that modules of this package can be imported without Celery.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taskyard.worker.celery_app import app

__all__ = ["app"]


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from taskyard.worker.celery_app import app

    return app
