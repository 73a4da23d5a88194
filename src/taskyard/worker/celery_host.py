"""The Celery app of the project around us, which its shared tasks belong to, in handlers too.

Celery makes the app of a worker the default one in its processes. Ours is an inner affair.
"""

from celery import Celery, _state

_host: Celery | None = None


def remember() -> None:
    """Note which app is current or default before a worker makes ours so."""
    global _host
    _host = _state._tls.current_app or _state.default_app  # type: ignore[attr-defined]


def give_back() -> None:
    """Make it the current app of this thread, and the default of all others, if there was one."""
    if _host is not None:
        _host.set_current()
        _host.set_default()
