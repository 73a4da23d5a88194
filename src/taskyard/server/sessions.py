"""The sessions of our own project; a host's sessions are the host's to delete."""

from django.contrib.sessions.backends.db import SessionStore


def delete_expired() -> None:
    """Delete the sessions past their time."""
    SessionStore.clear_expired()
