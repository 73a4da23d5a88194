"""Import an export into an empty or a living installation, without changing what is there.

A batch of lines is one transaction: it is written whole or not at all. The import recognises the
rows that an earlier import of the file has written, so an interrupted one is simply run again.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import groupby
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models import F, Model, TextField, Value

from taskyard.core import lifecycle, totals
from taskyard.core.allowance import ROW_BYTES
from taskyard.core.engine import engine
from taskyard.core.models import (
    Attempt,
    AttemptTraceback,
    AuditEntry,
    ImportedId,
    LogLine,
    PausedQueue,
    Quota,
    Task,
)
from taskyard.core.states import TERMINAL, Status
from taskyard.core.transfer import lines
from taskyard.core.transfer.files import IncomingFiles
from taskyard.core.transfer.lines import (
    AuditLine,
    BadLine,
    End,
    Error,
    FileLine,
    Header,
    Line,
    QueueLine,
    QuotaLine,
    TaskLine,
    TracebackPart,
    UserLine,
)
from taskyard.core.types import MESSAGES, LossReason, RescueDecision

# A batch ends after so many lines or bytes, whichever comes first.
BATCH_LINES, BATCH_BYTES = 500, 4 * 1024**2
USERS_REMEMBERED = 10_000

Numbered = Sequence[tuple[int, Any]]


class Imported:
    """How many lines of each kind were imported, and how many were there already."""

    def __init__(self) -> None:
        self.new: Counter[str] = Counter()
        self.there: Counter[str] = Counter()
        # Tasks that ran in the other installation and had no attempt left.
        self.lost = 0
        # Files that tasks name and that are not in the export.
        self.missing_files = 0
        # The number of the last line that is imported.
        self.lines = 0


def import_lines(
    source: Iterable[bytes], *, new_ids: bool = False, files: IncomingFiles | None = None
) -> Imported:
    """Import the lines of a file. Raises BadLine; the batches before it stay imported.

    Tasks, files and audit entries keep their ids; with ``new_ids`` each gets a new one.
    """
    counts = Imported()
    try:
        _write_batches(_batches(source), counts, new_ids=new_ids, files=files)
    except BadLine as error:
        error.imported = counts.lines
        raise
    return counts


def _write_batches(
    batches: Iterator[list[tuple[int, Line]]],
    counts: Imported,
    *,
    new_ids: bool,
    files: IncomingFiles | None,
) -> None:
    header = next(batches, [(1, None)])[0][1]
    if not isinstance(header, Header):
        raise BadLine(1, "no_header", "the first line is not the header of an export")
    writer = _Writer(header, counts, new_ids=new_ids, files=files)
    last, ended = 1, False
    for batch in batches:
        for last, line in batch:
            if ended or isinstance(line, Header):
                raise BadLine(last, "out_of_place", f"a line of the kind {line.kind}")
            ended = isinstance(line, End)
        writer.write(batch[:-1] if ended else batch)
        counts.lines = last
    if not ended:
        message = "the export was interrupted; continue it with --resume"
        raise BadLine(last + 1, "no_end", message)


def _batches(source: Iterable[bytes]) -> Iterator[list[tuple[int, Line]]]:
    """The lines with their numbers, in batches; the header is one by itself, as are files."""
    batch: list[tuple[int, Line]] = []
    size = 0
    for number, raw in enumerate(source, 1):
        line = lines.parse(number, raw)
        if batch and isinstance(line, FileLine) != isinstance(batch[-1][1], FileLine):
            yield batch
            batch, size = [], 0
        batch.append((number, line))
        size += len(raw)
        if number == 1 or len(batch) >= BATCH_LINES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Writer:
    """Writes batches of lines."""

    def __init__(
        self, header: Header, counts: Imported, *, new_ids: bool, files: IncomingFiles | None
    ) -> None:
        self._source = header.source
        self._counts = counts
        self._new_ids = new_ids
        self._files = files
        self._find_or_create = lru_cache(USERS_REMEMBERED)(_find_or_create_user)
        self._kinds: dict[type[Line], Any] = {
            UserLine: self._users,
            QuotaLine: self._quotas,
            QueueLine: self._queues,
            TaskLine: self._tasks,
            AuditLine: self._audit,
        }

    def write(self, batch: Numbered) -> None:
        """Write a batch in one transaction, or files one by one. Raises BadLine."""
        if batch and isinstance(batch[0][1], FileLine):
            self._place_files(batch)
            return
        if not self._new_ids:
            for model, kind in ((Task, TaskLine), (AuditEntry, AuditLine)):
                ids = [line.id for _, line in batch if isinstance(line, kind)]
                advance_sequence(model, max(ids, default=0))
        try:
            with transaction.atomic():
                for kind, group in groupby(batch, key=lambda numbered: type(numbered[1])):
                    self._kinds[kind](list(group))
        except IntegrityError as error:
            reason = str(error).strip().splitlines()[0]
            message = f"the database refuses a line of lines {batch[0][0]} to {batch[-1][0]}"
            raise BadLine(batch[0][0], "conflict", f"{message}: {reason}") from None

    def _user_id(self, number: int, username: str) -> Any:
        """The key of a user, who is created if needed. Raises BadLine."""
        try:
            return self._find_or_create(username)
        except ValidationError as error:
            raise _invalid_user(number, username, error) from None

    def _count(self, kind: str, *, new: bool) -> None:
        (self._counts.new if new else self._counts.there)[kind] += 1

    def _users(self, batch: Numbered) -> None:
        for number, line in batch:
            found = _find_user(line.username)
            if found is None:
                try:
                    _create_user(line)
                except ValidationError as error:
                    raise _invalid_user(number, line.username, error) from None
            self._count("user", new=found is None)

    def _quotas(self, batch: Numbered) -> None:
        for number, line in batch:
            user_id = self._user_id(number, line.username)
            lifecycle.open_quota(user_id)
            unlimited = Quota.objects.filter(user_id=user_id, active_limit=None)
            changed = unlimited.update(active_limit=line.active_limit)
            self._count("quota", new=bool(changed))

    def _queues(self, batch: Numbered) -> None:
        for number, line in batch:
            by_id = None if line.paused_by is None else self._user_id(number, line.paused_by)
            fields = {"paused_at": line.paused_at, "paused_by_id": by_id}
            _, new = PausedQueue.objects.get_or_create(name=line.name, defaults=fields)
            self._count("queue", new=new)

    def _place_files(self, batch: Numbered) -> None:
        files = self._incoming(batch[0][0])
        ids = [line.id for _, line in batch]
        known = self._known_ids("file", ids)
        here = files.keep([*known.values(), *(() if self._new_ids else ids)])
        for number, line in batch:
            owner_id = None if line.owner is None else self._user_id(number, line.owner)
            # One that an earlier import has brought may have been deleted, because no task used it.
            there = known.get(line.id) in here
            if not there:
                placed = files.place(number, line, owner_id, new_id=self._new_ids)
                there = placed.there
                if self._new_ids:
                    self._forget("file", line.id)
                    self._remember("file", [line.id], [placed.id], known)
            self._count("file", new=not there)

    def _incoming(self, number: int) -> IncomingFiles:
        if self._files is None:
            message = "the export has files: name their folder with --files"
            raise BadLine(number, "files_needed", message)
        return self._files

    def _audit(self, batch: Numbered) -> None:
        rows = AuditEntry.objects.filter(id__in=[line.id for _, line in batch])
        same = {row[0]: row[1:] for row in rows.values_list("id", "at", "action", "target")}
        known = self._known_ids("audit", [line.id for _, line in batch])
        new: list[tuple[int, AuditLine]] = []
        for number, line in batch:
            if self._is_new(number, line, known, same, (line.at, line.action, line.target)):
                new.append((number, line))
        entries = [
            AuditEntry(
                id=None if self._new_ids else line.id,
                by_id=None if line.by is None else self._user_id(number, line.by),
                **line.model_dump(
                    include={"at", "by_name", "action", "target", "address", "details"}
                ),
            )
            for number, line in new
        ]
        self._insert(AuditEntry, "audit", [line.id for _, line in new], entries, known)

    def _tasks(self, batch: Numbered) -> None:
        rows = Task.objects.filter(id__in=[line.id for _, line in batch])
        same = {
            row[0]: row[1:] for row in rows.values_list("id", "created_at", "task_type", "owner_id")
        }
        retried = [line.retry_of for _, line in batch if line.retry_of]
        known = self._known_ids("task", [line.id for _, line in batch] + retried)
        new: dict[int, tuple[int, TaskLine]] = {}
        for number, line in batch:
            owner_id = None if line.owner is None else self._user_id(number, line.owner)
            if line.retry_of in new:
                self._insert_tasks(list(new.values()), known)
                new = {}
            identity = (line.created_at, line.task_type, owner_id)
            if self._is_new(number, line, known, same, identity):
                new[line.id] = (number, line)
        self._insert_tasks(list(new.values()), known)

    def _known_ids(self, kind: str, wanted: Sequence[int]) -> dict[int, int]:
        """The ids here of what was imported with new ids, by their ids there."""
        found = ImportedId.objects.filter(source=self._source, kind=kind, source_id__in=wanted)
        return dict(found.values_list("source_id", "local_id"))

    def _is_new(
        self,
        number: int,
        line: TaskLine | AuditLine,
        known: dict[int, int],
        same: dict[int, tuple[Any, ...]],
        identity: tuple[Any, ...],
    ) -> bool:
        """Whether a line is to be inserted; otherwise count it as there.

        ``same`` has what identifies the row of an id. Raises BadLine if that is another one.
        """
        is_same = same.get(line.id) == identity
        if line.id in known or is_same:
            if self._new_ids and line.id not in known:
                self._remember(line.kind, [line.id], [line.id], known)
            self._count(line.kind, new=False)
            return False
        if line.id in same and not self._new_ids:
            message = f"another {line.kind} has the id {line.id} here; use --new-ids"
            raise BadLine(number, "id_taken", message)
        same.setdefault(line.id, identity)
        self._count(line.kind, new=True)
        return True

    def _insert(
        self,
        model: type[Model],
        kind: str,
        source_ids: list[int],
        rows: list[Any],
        known: dict[int, int],
    ) -> None:
        model._default_manager.bulk_create(rows)
        if self._new_ids:
            self._remember(kind, source_ids, [row.pk for row in rows], known)

    def _remember(
        self, kind: str, source_ids: list[int], local_ids: list[int], known: dict[int, int]
    ) -> None:
        pairs = dict(zip(source_ids, local_ids, strict=True))
        known |= pairs
        ImportedId.objects.bulk_create(
            ImportedId(source=self._source, kind=kind, source_id=source_id, local_id=local_id)
            for source_id, local_id in pairs.items()
        )

    def _forget(self, kind: str, source_id: int) -> None:
        """Forget the id here of a row that is gone and comes again."""
        ImportedId.objects.filter(source=self._source, kind=kind, source_id=source_id).delete()

    def _insert_tasks(self, new: Numbered, known: dict[int, int]) -> None:
        if not new:
            return
        file_ids = self._file_ids(new)
        if self._new_ids and file_ids:
            new = [self._renumbered(number, line, file_ids) for number, line in new]
        now = datetime.now(UTC)
        change = engine().change() if any(not line.has_ended for _, line in new) else 0
        states = [_state(line, now) for _, line in new]
        self._counts.lost += sum(
            line.was_running and "finished_at" in state
            for (_, line), state in zip(new, states, strict=True)
        )
        tasks = [
            Task(
                **{
                    **_fields(line),
                    "id": None if self._new_ids else line.id,
                    "owner_id": line.owner and self._user_id(number, line.owner),
                    "cancel_requested_by_id": line.cancel_requested_by
                    and self._user_id(number, line.cancel_requested_by),
                    "retry_of_id": self._retry_of(number, line, known),
                    # Streams and statistics take a task that ended elsewhere as long past.
                    "changed": 0 if line.has_ended else change,
                    **state,
                },
            )
            for (number, line), state in zip(new, states, strict=True)
        ]
        self._insert(Task, "task", [line.id for _, line in new], tasks, known)
        pairs = list(zip((line for _, line in new), tasks, strict=True))
        _insert_history(pairs, now)
        _count_in_quotas(tasks)
        if with_files := [(line, task) for line, task in pairs if line.inputs or line.outputs]:
            joined = self._incoming(new[0][0]).join(with_files, file_ids)
            self._counts.missing_files += joined

    def _file_ids(self, batch: Numbered) -> dict[int, int]:
        """The ids here of the files of tasks, by their ids there."""
        wanted = {file_id for _, line in batch for file_id in (*line.inputs, *line.outputs)}
        if not self._new_ids:
            return {file_id: file_id for file_id in wanted}
        return self._known_ids("file", sorted(wanted))

    def _renumbered(self, number: int, line: TaskLine, ids: dict[int, int]) -> tuple[int, TaskLine]:
        if not (line.inputs or line.outputs):
            return number, line
        return number, self._incoming(number).renumbered(number, line, ids)

    def _retry_of(self, number: int, line: TaskLine, known: dict[int, int]) -> int | None:
        """The id here of the task that this one retried. Raises BadLine."""
        old = line.retry_of
        if old is None:
            return None
        if old in known:
            return known[old]
        if self._new_ids or not Task.objects.filter(id=old).exists():
            raise BadLine(number, "unknown_retry_of", f"task {old} is not imported before it")
        return old


def _find_user(username: str) -> Any:
    """The key of a user; None if there is no user of this name."""
    model = get_user_model()
    try:
        return model._default_manager.get_by_natural_key(username).pk
    except model.DoesNotExist:
        return None


def _find_or_create_user(username: str) -> Any:
    """The key of a user. Raises ValidationError."""
    found = _find_user(username)
    return _create_user(UserLine(kind="user", username=username)) if found is None else found


def _create_user(line: UserLine) -> Any:
    """Create a user; without a hash the password is unusable. Raises ValidationError."""
    model = get_user_model()
    known = {field.name for field in model._meta.concrete_fields}
    given = line.model_dump(include=known & line.model_fields_set - {"password"})
    user = model(**given | {model.USERNAME_FIELD: line.username})
    if line.password is None:
        user.set_unusable_password()
    else:
        user.password = line.password
    user.full_clean(exclude=["password"])
    user.save()
    return user.pk


def _invalid_user(number: int, username: str, error: ValidationError) -> BadLine:
    return BadLine(number, "invalid_user", f"{username}: {'; '.join(error.messages)}")


def _fields(line: TaskLine) -> dict[str, Any]:
    """The columns that are taken from a line as they are."""
    same = {
        *("task_type", "queue", "status", "tags", "priority", "timeout_seconds", "created_at"),
        *("run_at", "started_at", "claimed_at", "finished_at", "cancel_requested_at", "attempt"),
        *("max_attempts", "resumes", "slept"),
    }
    texts = (line.input_data or "", line.result or "")
    size = ROW_BYTES + sum(len(text.encode()) for text in texts)
    return {
        **line.model_dump(include=same),
        **{name: _raw(getattr(line, name)) for name in lines.RAW},
        "input_data": _raw(line.input_data or "null"),
        # The claims of the other installation are gone; an attempt of a past one has its place.
        "fence": len(line.attempts) + 1 if line.attempt else 0,
        "size": size,
    }


def _raw(text: str | None) -> Value | None:
    """JSON text as it is, for a column that otherwise encodes a value."""
    return None if text is None else Value(text, output_field=TextField())


def _state(line: TaskLine, now: datetime) -> dict[str, Any]:
    """The columns that say where the task is. A task that ran is treated as one whose worker died.

    So it runs again if it has an attempt left, and else it ends: its process may have done all.
    """
    error = line.error or Error(code="", message="")
    wake_at = line.wake_at
    if line.status == "pending" and wake_at is None and line.run_at and line.run_at > now:
        wake_at = line.run_at
    state: dict[str, Any] = {
        "ready": not line.has_ended and wake_at is None,
        "wake_at": wake_at,
        "error_code": error.code,
        "error_message": error.message,
    }
    if not line.was_running:
        return state
    decision = RescueDecision.of(
        LossReason.LOST,
        cancelling=line.cancel_requested_at is not None,
        attempts_left=line.attempt < line.max_attempts,
    )
    if decision.again:
        return {**state, "status": Status.PENDING}
    return {
        **state,
        "status": decision.status,
        "ready": False,
        "finished_at": now,
        "error_code": decision.code,
        "error_message": MESSAGES[decision.code],
    }


def _insert_history(pairs: Iterable[tuple[TaskLine, Task]], now: datetime) -> None:
    attempts: list[Attempt] = []
    tracebacks: list[AttemptTraceback] = []
    said: list[LogLine] = []
    for line, task in pairs:
        for fence, part in enumerate(line.attempts, 1):
            attempts.append(
                Attempt(
                    task_id=task.pk,
                    fence=fence,
                    error_code=part.error.code,
                    error_message=part.error.message,
                    **part.model_dump(include={"number", "started_at", "ended_at"}),
                )
            )
            tracebacks += _traceback(task, fence, part.traceback)
        tracebacks += _traceback(task, task.fence, line.traceback)
        if line.was_running and task.status == Status.PENDING:
            lost = LossReason.LOST.value
            attempts.append(
                Attempt(
                    task_id=task.pk,
                    number=line.attempt,
                    fence=task.fence,
                    started_at=line.claimed_at or line.created_at,
                    ended_at=now,
                    error_code=lost,
                    error_message=MESSAGES[lost],
                )
            )
        said += [LogLine(task_id=task.pk, **part.model_dump()) for part in line.log]
    Attempt.objects.bulk_create(attempts)
    AttemptTraceback.objects.bulk_create(tracebacks)
    LogLine.objects.bulk_create(said, batch_size=1000)


def _traceback(task: Task, fence: int, part: TracebackPart | None) -> Iterator[AttemptTraceback]:
    if part is not None:
        yield AttemptTraceback(task_id=task.pk, fence=fence, **part.model_dump())


def _count_in_quotas(tasks: Iterable[Task]) -> None:
    """Add the tasks to the counters of their owners, in the order of ids as every end does.

    System tasks that have ended are counted apart.
    """
    added: dict[Any, Counter[str]] = defaultdict(Counter)
    system: Counter[str] = Counter()
    for task in tasks:
        if task.owner_id is not None:
            column = task.status if task.status in TERMINAL else "active"
            added[task.owner_id].update({column: 1, "bytes": task.size})
        elif task.status in TERMINAL:
            system[task.status] += 1
    for owner_id, counts in sorted(added.items()):
        lifecycle.open_quota(owner_id)
        Quota.objects.filter(user_id=owner_id).update(
            **{name: F(name) + count for name, count in counts.items()}
        )
    totals.count_system_tasks(system.items())


def advance_sequence(model: type[Model], largest: int) -> None:
    """Let the database give no id up to ``largest`` to a later row. SQLite does so by itself."""
    if connection.vendor != "postgresql":
        return
    table = model._meta.db_table
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [table])
        sequence = cursor.fetchone()[0]
        cursor.execute(f"SELECT last_value FROM {sequence}")  # noqa: S608
        if cursor.fetchone()[0] >= largest:
            return
        # While another transaction inserts, its id could be given twice.
        cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        statement = f"SELECT setval(%s, %s) FROM {sequence} WHERE last_value < %s"  # noqa: S608
        cursor.execute(statement, [sequence, largest, largest])
