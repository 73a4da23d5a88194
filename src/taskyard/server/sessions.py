"""Clean up the sessions of our own project. A host project deletes its own."""

from django.contrib.sessions.backends.db import SessionStore


def delete_expired() -> None:
    """Delete the expired sessions."""
    SessionStore.clear_expired()
