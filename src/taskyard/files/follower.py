"""What happens to files when tasks are submitted and end, in the transactions of the tasks."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.db.models import Q

from taskyard.catalog.files import UsedFile
from taskyard.catalog.schema import FieldError, InvalidInput
from taskyard.core.models import Task
from taskyard.core.states import TERMINAL
from taskyard.core.types import AttemptResult, NewTask, UserId
from taskyard.files.models import FileUse, Role, State, StoredFile


class Follower:
    """Implements ``core.followers.FileFollower``."""

    def submitted(self, owner_id: UserId | None, tasks: Sequence[tuple[int, NewTask]]) -> None:
        """Pin the inputs of new tasks. Raises InvalidInput for one that cannot be used."""
        wanted = {used.file.id for _, new in tasks for used in new.files}
        files = _locked_inputs(owner_id, wanted)
        errors = [
            error
            for _, new in tasks
            for used in new.files
            if (error := _error_of(used, files.get(used.file.id)))
        ]
        if errors:
            raise InvalidInput(errors)
        ids = {task_id: {used.file.id for used in new.files} for task_id, new in tasks if new.files}
        use(ids)

    def kept(self, task_id: int, *, fence: int) -> None:
        """Keep what was saved before a checkpoint, also if the attempt is lost."""
        saved = StoredFile.objects.filter(task_id=task_id, fence=fence, state=State.WRITTEN)
        saved.update(fence=None)

    def ended(self, results: Sequence[AttemptResult]) -> None:
        """Show the outputs of tasks that have ended; keep those of suspended attempts."""
        ended: dict[bool, list[AttemptResult]] = defaultdict(list)
        for result in results:
            if result.status in TERMINAL:
                ended[True].append(result)
            elif result.resumes:
                ended[False].append(result)
        for is_over, those in ended.items():
            own = Q()
            for result in those:
                own |= Q(task_id=result.task.id, fence=result.task.fence)
                own |= Q(task_id=result.task.id, fence=None)
            fields: dict[str, Any] = {"state": State.READY} if is_over else {"fence": None}
            StoredFile.objects.filter(own, state=State.WRITTEN).update(**fields)


def _locked_inputs(owner_id: UserId | None, file_ids: set[int]) -> dict[int, StoredFile]:
    """The ready inputs of this owner, locked against their deletion."""
    rows = StoredFile.objects.select_for_update(of=("self",), no_key=True).order_by("pk")
    found = rows.filter(pk__in=file_ids, owner_id=owner_id, state=State.READY)
    return {row.pk: row for row in found}


def use(file_ids: dict[int, set[int]]) -> None:
    """Note which files tasks use, by the tasks' ids."""
    FileUse.objects.bulk_create(
        FileUse(task_id=task_id, file_id=file_id)
        for task_id, used in file_ids.items()
        for file_id in sorted(used)
    )
    every = set().union(*file_ids.values())
    StoredFile.objects.filter(pk__in=every, role=Role.INPUT).update(expires_at=None)
    Task.objects.filter(pk__in=file_ids).update(has_files=True)


def _error_of(used: UsedFile, file: StoredFile | None) -> FieldError | None:
    if file is None:
        return FieldError(used.path, "file_not_found", "There is no such file.")
    rules = used.file.accepts
    if rules is None:
        return None
    if not rules.matches(file.content_type):
        return FieldError(
            used.path,
            "file_type_refused",
            "The file has another type than these.",
            {"accepted": ", ".join(rules.content_types), "actual": file.content_type},
        )
    if rules.max_bytes is not None and file.size > rules.max_bytes:
        return FieldError(
            used.path, "file_too_large", "The file is too large.", {"limit": rules.max_bytes}
        )
    return None
