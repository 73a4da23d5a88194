"""Idempotency keys: a repeated request gets the same tasks, and takes no further quota place.

See draft-ietf-httpapi-idempotency-key-header. A key belongs to its owner, and lives for ``KEPT``.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import orjson
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac

from taskyard.core import lifecycle
from taskyard.core.errors import KeyReused
from taskyard.core.models import IdempotencyKey
from taskyard.core.types import NewTask, UserId

KEPT = timedelta(hours=24)


def submit_once(
    owner_id: UserId, key: str, fingerprint: str, new: Sequence[NewTask]
) -> tuple[list[int], bool]:
    """Submit under a key; the ids, and whether the tasks existed before.

    Raises KeyReused like ``once``, and what ``submit_all`` raises.
    """
    return once(owner_id, key, fingerprint, lambda: lifecycle.submit_all(owner_id, new))


def once(
    owner_id: UserId, key: str, fingerprint: str, make: Callable[[], list[int]]
) -> tuple[list[int], bool]:
    """Make tasks under a key, in one transaction; their ids, and whether they existed before.

    Raises KeyReused if the key was used with another fingerprint, and what ``make`` raises; then
    the key is free again.
    """
    with transaction.atomic():
        mine = IdempotencyKey.objects.filter(owner_id=owner_id, key=key)
        mine.filter(created_at__lt=Now() - KEPT).delete()
        # Waits for a transaction that submits under the same key.
        IdempotencyKey.objects.bulk_create(
            [IdempotencyKey(owner_id=owner_id, key=key, fingerprint=fingerprint)],
            ignore_conflicts=True,
        )
        known = mine.select_for_update().get()
        if known.fingerprint != fingerprint:
            raise KeyReused
        if known.task_ids:
            return known.task_ids, True
        ids = make()
        mine.update(task_ids=ids)
        return ids, False


def fingerprint(endpoint: str, body: Any, *, has_secrets: bool = False) -> str:
    """A hash that does not depend on the order of keys in the body.

    If the body has secrets, the hash needs the project's ``SECRET_KEY``: otherwise a reader of the
    database could try secrets until the hash fits.
    """
    try:
        canonical = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # integers beyond 64 bits
        canonical = json.dumps(body, sort_keys=True).encode()
    text = b"%s\n%s" % (endpoint.encode(), canonical)
    if has_secrets:
        return salted_hmac("taskyard.idempotency", text, algorithm="sha256").hexdigest()
    return hashlib.sha256(text).hexdigest()


def delete_expired(at_most: int) -> int:
    """Delete expired keys, the oldest first; how many."""
    old = IdempotencyKey.objects.filter(created_at__lt=Now() - KEPT).order_by("created_at")
    chosen = old.select_for_update(
        skip_locked=connection.features.has_select_for_update_skip_locked
    )
    with transaction.atomic():
        ids = list(chosen.values_list("id", flat=True)[:at_most])
        return IdempotencyKey.objects.filter(id__in=ids).delete()[0] if ids else 0
