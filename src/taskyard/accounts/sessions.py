"""The sessions of the page and of the admin."""

from django.contrib.sessions.backends.db import SessionStore


def forget_old() -> None:
    """Delete the sessions past their time; nobody else does."""
    SessionStore.clear_expired()
