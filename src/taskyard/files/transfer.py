"""Files in an export and an import (``core/transfer``): the bytes lie in a folder beside it.

Each is stored there under its SHA-256, so an interrupted export or import copies none twice.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from taskyard.catalog.task_type import UnknownTaskType, registry
from taskyard.core.models import Task
from taskyard.core.states import TERMINAL
from taskyard.core.transfer.exporter import of_each_task, stream, user_name
from taskyard.core.transfer.files import FilesOf, Placed
from taskyard.core.transfer.importer import advance_sequence
from taskyard.core.transfer.lines import BadLine, FileLine, TaskLine
from taskyard.core.types import UserId
from taskyard.files import copies, follower, names, removal, storage, usage
from taskyard.files.errors import DigestMismatch, FileTooLarge
from taskyard.files.models import FileUse, Role, State, StoredFile
from taskyard.files.renumber import renumber
from taskyard.files.writing import ALIVE_SECONDS, UNUSED_SECONDS, Writer


def place_of(folder: Path, sha256: str) -> Path:
    """Where the bytes of a file lie."""
    return folder / sha256[:2] / sha256


class Outgoing:
    """Implements ``core.transfer.files.OutgoingFiles``.

    ``damaged`` has the ids of files that are left out, because the storage has lost their bytes or
    a part of them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.damaged: list[int] = []

    def rows(self, beyond_id: int) -> Iterable[dict[str, Any]]:
        """Raises OSError for the folder, StorageUnavailable."""
        columns = ("id", "name", "content_type", "size", "sha256", "created_at", "key")
        found = stream(
            exported().filter(pk__gt=beyond_id),
            "id",
            **{name: name for name in columns},
            owner=user_name("owner"),
        )
        for row in found:
            target = place_of(self._folder, row["sha256"])
            if not (target.exists() and target.stat().st_size == row["size"]):
                try:
                    with storage.read(row["key"]) as source:
                        copies.write(target, source, sha256=row["sha256"])
                except (FileNotFoundError, DigestMismatch):
                    if exported().filter(pk=row["id"]).exists():
                        self.damaged.append(row["id"])
                    continue  # otherwise it was deleted after the export has begun
            del row["key"]
            yield row

    def of_tasks(self, beyond_id: int) -> FilesOf:
        uses = FileUse.objects.filter(task__isnull=False)
        inputs = of_each_task(uses, "file_id", beyond_id, "file_id")
        saved = exported().filter(role=Role.OUTPUT, task__isnull=False)
        outputs = of_each_task(saved, "id", beyond_id, "id")

        def of_task(task_id: int) -> dict[str, list[int]]:
            found = {
                "inputs": [row["file_id"] for row in inputs(task_id)],
                "outputs": [row["id"] for row in outputs(task_id)],
            }
            return {name: ids for name, ids in found.items() if ids}

        return of_task


def exported() -> "QuerySet[StoredFile]":
    """Whole files: inputs, outputs that a task has kept, and outputs that another task uses."""
    is_input = Q(role=Role.INPUT, state=State.READY)
    is_kept = Q(task__isnull=False) & (Q(state=State.READY) | Q(state=State.WRITTEN, fence=None))
    uses = FileUse.objects.filter(file=OuterRef("pk"), task__isnull=False)
    is_used = Q(task=None, state=State.READY) & Exists(uses)
    return StoredFile.objects.filter(is_input | is_kept | is_used)


class Incoming:
    """Implements ``core.transfer.files.IncomingFiles``.

    A file is an input that waits for its task, until ``join`` makes it what it was.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, ids: Iterable[int]) -> set[int]:
        whole = StoredFile.objects.filter(pk__in=ids, state__in=(State.READY, State.WRITTEN))
        unused = whole.exclude(expires_at=None)
        unused.update(expires_at=Now() + timedelta(seconds=UNUSED_SECONDS))
        return set(whole.values_list("pk", flat=True))

    def place(
        self, number: int, line: FileLine, owner_id: UserId | None, *, new_id: bool
    ) -> Placed:
        """Raises BadLine, StorageFull, StorageUnavailable."""
        if _is_there(number, line, owner_id, new_id=new_id):
            return Placed(line.id, there=True)
        path = place_of(self._folder, line.sha256)
        if not path.is_file() or path.stat().st_size != line.size:
            raise BadLine(number, "no_bytes", f"{path} is missing, or has another size")
        writer, file = _begin(line, owner_id, None if new_id else line.id)
        try:
            with path.open("rb") as source:
                while data := source.read(copies.CHUNK):
                    writer.write(data)
            writer.complete(sha256=line.sha256)
        except FileTooLarge as error:
            writer.discard()
            message = f"a file may have {error.params['limit']} bytes here"
            raise BadLine(number, error.code, message) from None
        except DigestMismatch as error:
            writer.discard()
            raise BadLine(number, error.code, f"{path} has other bytes") from None
        except BaseException:
            writer.discard()
            raise
        return Placed(file.pk, there=False)

    def renumbered(self, number: int, line: TaskLine, ids: dict[int, int]) -> TaskLine:
        """The task with the ids here in its input and its result. Raises BadLine."""
        try:
            task_type = registry.get(line.task_type)
        except UnknownTaskType:
            message = f"{line.task_type} has files, and must be known here for new ids"
            raise BadLine(number, "unknown_task_type", message) from None
        change: dict[str, Any] = {}
        if line.input_data is not None:
            change["input_data"] = renumber(line.input_data, task_type.input_schema, ids)
        if line.result is not None:
            change["result"] = renumber(line.result, task_type.result_schema, ids)
        return line.model_copy(update=change)

    def join(self, tasks: Sequence[tuple[TaskLine, Task]], ids: dict[int, int]) -> int:
        wanted = {file_id for line, _ in tasks for file_id in (*line.inputs, *line.outputs)}
        rows = StoredFile.objects.select_for_update(of=("self",)).order_by("pk")
        here = {
            row.pk: row
            for row in rows.filter(pk__in=[ids.get(file_id) for file_id in wanted])
            if row.state == State.READY
        }
        uses: dict[int, set[int]] = defaultdict(set)
        missing = 0
        for line, task in tasks:
            for file_id in line.inputs:
                file = here.get(ids.get(file_id, 0))
                if file is None or file.owner_id != task.owner_id:
                    missing += 1
                else:
                    uses[task.pk].add(file.pk)
            for file_id in line.outputs:
                file = here.get(ids.get(file_id, 0))
                if file is None or file.owner_id != task.owner_id or file.role != Role.INPUT:
                    missing += 1
                else:
                    _make_output(file, task)
        if uses:
            follower.use(uses)
        return missing


def _begin(
    line: FileLine, owner_id: UserId | None, id_here: int | None
) -> tuple[Writer, StoredFile]:
    if id_here is not None:
        advance_sequence(StoredFile, id_here)
    with transaction.atomic():
        file = StoredFile.objects.create(
            pk=id_here,
            owner_id=owner_id,
            name=names.clean(line.name),
            size=line.size,
            key=storage.new_key(),
            role=Role.INPUT,
            created_at=line.created_at,
            expires_at=Now() + timedelta(seconds=ALIVE_SECONDS),
        )
        usage.add(owner_id, line.size)
    return Writer(file, is_size_known=True), file


def _is_there(number: int, line: FileLine, owner_id: UserId | None, *, new_id: bool) -> bool:
    """Whether the file was imported before. Deletes what an interrupted import has left.

    Raises BadLine if another file has the id, unless the file gets a new one.
    """
    row = StoredFile.objects.filter(pk=line.id).first()
    if row is None:
        return False
    is_same = (row.created_at, row.owner_id) == (line.created_at, owner_id)
    if is_same and row.state in (State.READY, State.WRITTEN) and row.sha256 == line.sha256:
        return True
    if new_id:
        return False
    if is_same and row.state in (State.WRITING, State.DELETING):
        removal.discard(row.pk)
        if not StoredFile.objects.filter(pk=line.id).exists():
            return False
    message = f"another file has the id {line.id} here; use --new-ids"
    raise BadLine(number, "id_taken", message)


def _make_output(file: StoredFile, task: Task) -> None:
    file.role, file.task_id, file.attempt = Role.OUTPUT, task.pk, task.attempt
    file.state = State.READY if task.status in TERMINAL else State.WRITTEN
    file.expires_at = None
    file.save(update_fields=["role", "task", "attempt", "state", "expires_at"])
    Task.objects.filter(pk=task.pk).update(has_files=True)
