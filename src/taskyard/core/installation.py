"""The id of this installation: it keeps its names in a shared Redis apart from all others.

The id is made by the first process that needs it, and kept in the database. A process reads it
once. A copy of the database has the same id; delete the row before the copy is used.
"""

import secrets
from typing import Any

from django.apps import apps
from django.db import connection, transaction

ONLY_ROW = 1
_known: str | None = None


def installation_id() -> str:
    """Twelve letters and digits. Raises DatabaseError, InterfaceError."""
    if _known is not None:
        return _known
    was_open = connection.connection is not None
    try:
        found = _read() or _make()
    finally:
        # Most threads that speak to Redis need the database for this alone.
        if not was_open:
            connection.close()
    return found


def _read() -> str | None:
    found: str | None = _model().objects.filter(id=ONLY_ROW).values_list("key", flat=True).first()
    if found is not None and not connection.in_atomic_block:
        _keep(found)
    return found


def _make() -> str:
    """Two processes may make it at once: the row of one of them stays, and both read it."""
    model = _model()
    made = model(id=ONLY_ROW, key=secrets.token_hex(6))
    model.objects.bulk_create([made], ignore_conflicts=True)
    found: str = model.objects.get(id=ONLY_ROW).key
    # Not before the commit: a rollback removes the row.
    transaction.on_commit(lambda: _keep(found))
    return found


def _model() -> Any:
    """Looked up late: the module of a project's Celery app is loaded before the models."""
    return apps.get_model("taskyard", "Installation")


def _keep(found: str) -> None:
    global _known
    _known = found
