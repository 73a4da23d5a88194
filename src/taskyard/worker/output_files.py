"""Save the files of a running handler: their bytes into the storage, their rows by our connection.

A file is seen when the attempt ends; ``files.sweep`` deletes what a lost attempt has saved.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from django.apps import apps

from taskyard.catalog.files import OutputFile, Source, StorageError, pieces, reading
from taskyard.catalog.run import Cancelled, Fail, Run
from taskyard.core.models import Task
from taskyard.core.types import MESSAGES, ClaimedTask, UserId
from taskyard.worker import identity
from taskyard.worker.handler_database import database
from taskyard.worker.reporter import retry_until_database_answers

Answer = TypeVar("Answer")


class OutputFiles:
    """Saves the files of one attempt, from any thread of its handler.

    A timeout or a cancel interrupts the copying, and never our statements.
    """

    def __init__(self, task: ClaimedTask) -> None:
        self._task = task
        self._owner: tuple[UserId | None] | None = None
        self._asking = threading.Lock()
        self._is_over = False

    def save(self, run: Run, name: str, source: Source) -> OutputFile:
        """Copy ``source`` into a new file of the task. ``Run.save_file`` says what it raises."""
        _refuse_where_it_cannot_work()
        from taskyard.files import removal
        from taskyard.files.writing import Saver, Writer, begin

        run.raise_if_cancelled()
        saver = Saver(self._task.id, self._task.attempt, self._task.fence)
        with reading(source) as (stream, size), telling_the_handler(name):
            file = self._ask(lambda: begin(self._owner_id(), name, size=size, saver=saver))
            writer = None
            try:
                writer = Writer(file, is_size_known=False, ask=self._ask)
                for piece in pieces(stream):
                    writer.write(piece)
                    run.raise_if_cancelled()
                stored = writer.complete()
            except BaseException:
                if writer is None:
                    retry_until_database_answers(lambda: removal.discard(file.pk))
                elif not writer.is_complete:
                    writer.discard(ask=retry_until_database_answers)
                raise
        return OutputFile(stored.pk, stored.name, stored.size)

    def close(self) -> None:
        """The handler has ended: its threads can save no more."""
        with self._asking:
            self._is_over = True

    def _owner_id(self) -> UserId | None:
        """The owner of the task, read once. Raises Cancelled if the task is gone."""
        if self._owner is None:
            self._owner = Task.objects.filter(pk=self._task.id).values_list("owner_id").first()
        if self._owner is None:
            raise Cancelled
        return self._owner[0]

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        def ask() -> Answer:
            with self._asking:
                if self._is_over:
                    raise Cancelled
                return question()

        return retry_until_database_answers(ask)


def refuse_without_the_app() -> None:
    """Raise RuntimeError if this project has no files."""
    if not apps.is_installed("taskyard.files"):
        raise RuntimeError("Files need the app taskyard.files in INSTALLED_APPS.")


def _refuse_where_it_cannot_work() -> None:
    refuse_without_the_app()
    if identity.is_fork:
        raise RuntimeError("save_file works in the handler's own process, not in one it forked.")
    if database.holds_the_file():
        raise RuntimeError(
            "On SQLite, save_file cannot be called in a transaction of the handler: save the file "
            "before or after it."
        )


@contextmanager
def telling_the_handler(name: str) -> Iterator[None]:
    """Raise what a handler knows: Fail, StorageError or Cancelled."""
    from taskyard.files import errors

    final = (
        *(errors.FileTooLarge, errors.FileBytesExceeded, errors.FileCountExceeded),
        errors.TooManyFiles,
    )
    passing = (errors.StorageFull, errors.StorageUnavailable)
    try:
        yield
    except final as error:
        raise Fail(error.code, MESSAGES[error.code] % {"name": name, **error.params}) from None
    except passing as error:
        raise StorageError(error.code, MESSAGES[error.code]) from None
    except FileNotFoundError:
        raise Fail("file_missing", MESSAGES["file_missing"] % {"name": name}) from None
    except errors.UploadGone:  # another attempt has the task
        raise Cancelled from None
