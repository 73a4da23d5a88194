"""Server-sent events and the waits of `Prefer: wait`.

A project wraps its ASGI application: ``application = with_streams(get_asgi_application())``.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskyard.live.asgi import ASGIApp

__all__ = ["with_streams"]


def with_streams(application: "ASGIApp") -> "ASGIApp":
    """An ASGI application that serves streams and waits, and passes all else on to this one.

    Streams and waits call ``application`` too, so its middleware and authentication hold for them.
    """
    # Later, because it needs models, and `asgi.py` imports this module before Django is set up.
    from taskyard.live.application import LiveApplication

    return LiveApplication(application)
