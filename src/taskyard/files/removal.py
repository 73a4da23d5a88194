"""Delete files: first the row says so and the quota is given back, then the bytes, then the row.

If something breaks in between, the sweep goes on with it.
"""

from collections import defaultdict
from collections.abc import Iterable

from django.db import transaction
from django.db.models import Q

from taskyard.core import audit
from taskyard.core.states import ACTIVE
from taskyard.core.types import UserId
from taskyard.files import storage, usage
from taskyard.files.errors import FileInUse, StorageFull, StorageUnavailable
from taskyard.files.models import FileUse, Role, State, StoredFile


def delete(file: StoredFile, *, by_id: UserId | None = None) -> None:
    """Delete a file. Raises FileInUse while a task that has not ended uses it.

    Tasks that have ended no longer list it. ``by_id`` is the staff member who deletes it.
    """
    with transaction.atomic():
        row = StoredFile.objects.select_for_update(of=("self",)).filter(pk=file.pk).first()
        if row is None:
            return
        if FileUse.objects.filter(file=row, task__status__in=ACTIVE).exists():
            raise FileInUse
        if mark([row.pk]):
            audit.record(by_id, "delete_file", str(row.pk))
    erase([row.pk])


def discard(file_id: int) -> None:
    """Delete a file that is not ready; another request may have made it so."""
    give_up(file_id)
    erase([file_id])


def give_up(file_id: int) -> None:
    """Like ``discard``, if the storage does not answer: the sweep deletes the bytes."""
    hidden = StoredFile.objects.select_for_update(of=("self",)).exclude(state=State.READY)
    with transaction.atomic():
        mark(row.pk for row in hidden.filter(pk=file_id))


def mark(file_ids: Iterable[int]) -> int:
    """Say in the caller's transaction that these files are to be deleted; how many were not yet."""
    rows = list(
        StoredFile.objects.select_for_update(of=("self",))
        .filter(pk__in=list(file_ids))
        .exclude(state=State.DELETING)
        .order_by("pk")
    )
    ids = [row.pk for row in rows]
    if not ids:
        return 0
    StoredFile.objects.filter(pk__in=ids).update(state=State.DELETING, expires_at=None)
    FileUse.objects.filter(file__in=ids).delete()
    sizes: dict[UserId, list[int]] = defaultdict(list)
    for row in rows:
        sizes[row.owner_id].append(row.size)
    for owner_id, freed in sorted(sizes.items(), key=lambda item: str(item[0])):
        usage.give_back(owner_id, sum(freed), files=len(freed))
    return len(ids)


def erase(file_ids: Iterable[int]) -> int:
    """Delete the bytes and the rows of marked files; how many.

    Stops silently when the storage fails: the sweep tries again.
    """
    marked = StoredFile.objects.filter(pk__in=list(file_ids), state=State.DELETING)
    erased = 0
    for file_id, key, sha256 in marked.values_list("pk", "key", "sha256"):
        try:
            storage.delete(key, is_whole=bool(sha256))
        except (StorageFull, StorageUnavailable):
            break
        erased += forget([file_id])
    return erased


def forget(file_ids: Iterable[int]) -> int:
    """Delete the rows of marked files whose bytes are deleted; how many."""
    marked = StoredFile.objects.filter(pk__in=list(file_ids), state=State.DELETING)
    return marked.delete()[1].get(StoredFile._meta.label, 0)


def is_over(file_ids: Iterable[int]) -> list[int]:
    """Those inputs that tasks have used and no task uses any more."""
    candidates = StoredFile.objects.filter(
        Q(role=Role.INPUT, state=State.READY, expires_at=None), pk__in=list(file_ids)
    )
    return list(candidates.filter(uses=None).values_list("pk", flat=True))
