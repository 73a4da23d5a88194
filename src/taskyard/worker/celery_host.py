"""Keep the host project's Celery app current, so that its shared tasks work in handlers.

In a worker's processes Celery makes the worker's app the default one, which is ours.
"""

from celery import Celery, _state

_host: Celery | None = None


def remember() -> None:
    """Store the current or default app, before Celery replaces it by ours."""
    global _host
    _host = _state._tls.current_app or _state.default_app  # type: ignore[attr-defined]


def give_back() -> None:
    """Make the stored app, if any, current in this thread and the default of all others."""
    if _host is not None:
        _host.set_current()
        _host.set_default()
