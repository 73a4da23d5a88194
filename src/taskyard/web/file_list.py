"""The list of a user's files: what each is for, and how long it is kept."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import F, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from taskyard.core.types import UserId
from taskyard.files.models import FileUse, Role, State, StoredFile

PAGE_SIZE = 50
TASKS_SHOWN = 5


@dataclass(frozen=True)
class Row:
    """A file, and the latest tasks that use it or the one that has saved it."""

    file: StoredFile
    task_ids: list[int]
    has_more: bool

    @property
    def is_unfinished(self) -> bool:
        """Whether its bytes still arrive."""
        return self.file.state == State.WRITING


@dataclass(frozen=True)
class Page:
    """Some of the files, the newest first; ``older`` is the id that the next page begins before."""

    rows: list[Row]
    older: int | None


def of_user(owner_id: UserId) -> "QuerySet[StoredFile]":
    """The user's files: those that are ready, and uploads that have not finished."""
    shown = Q(state=State.READY) | Q(state=State.WRITING, role=Role.INPUT)
    return StoredFile.objects.filter(shown, owner_id=owner_id)


def page(files: "QuerySet[StoredFile]", *, before: int | None) -> Page:
    """A page of these files."""
    if before is not None:
        files = files.filter(pk__lt=before)
    found = list(files.order_by("-pk")[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    tasks = _tasks_of(file.pk for file in shown)
    rows = [
        Row(
            file,
            [file.task_id] if file.task_id else tasks.get(file.pk, [])[:TASKS_SHOWN],
            len(tasks.get(file.pk, [])) > TASKS_SHOWN,
        )
        for file in shown
    ]
    return Page(rows, shown[-1].pk if len(found) > PAGE_SIZE else None)


def _tasks_of(file_ids: Iterable[int]) -> dict[int, list[int]]:
    """The latest tasks that use each file, one more than are shown."""
    number = Window(RowNumber(), partition_by="file_id", order_by=F("task_id").desc())
    uses = FileUse.objects.filter(file__in=list(file_ids), task__isnull=False)
    latest = uses.annotate(number=number).filter(number__lte=TASKS_SHOWN + 1)
    found: dict[int, list[int]] = {}
    for file_id, task_id in latest.order_by("-task_id").values_list("file_id", "task_id"):
        if task_id is not None:
            found.setdefault(file_id, []).append(task_id)
    return found
