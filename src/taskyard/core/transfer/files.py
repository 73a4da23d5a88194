"""What the app of files does in an export and in an import; the commands hand it in."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from taskyard.core.models import Task
from taskyard.core.transfer.lines import FileLine, TaskLine
from taskyard.core.types import UserId

# The members ``inputs`` and ``outputs`` of a task's line; called in the order of tasks.
FilesOf = Callable[[int], dict[str, list[int]]]


class OutgoingFiles(Protocol):
    """Writes files beside an export."""

    def rows(self, beyond_id: int) -> Iterable[dict[str, Any]]:
        """The lines of files with greater ids; the bytes are written before the line."""

    def of_tasks(self, beyond_id: int) -> FilesOf:
        """The files of the tasks with greater ids."""


class Placed(NamedTuple):
    """The id here of an imported file, and whether it was there already."""

    id: int
    there: bool


class IncomingFiles(Protocol):
    """Takes files that lie beside an export. Raises BadLine, with the number of the line."""

    def keep(self, ids: Iterable[int]) -> set[int]:
        """Which of these files are here; those that no task uses yet are kept for another day."""

    def place(
        self, number: int, line: FileLine, owner_id: UserId | None, *, new_id: bool
    ) -> Placed:
        """Store the bytes under the id of the line, or a new one, and commit; unless it is there.

        A file that no task uses within a day is deleted.
        """

    def renumbered(self, number: int, line: TaskLine, ids: dict[int, int]) -> TaskLine:
        """The task with the ids here, instead of those in the export."""

    def join(self, tasks: Sequence[tuple[TaskLine, Task]], ids: dict[int, int]) -> int:
        """Give tasks their files, in the transaction in which they are inserted.

        ``ids`` are those here by the ids in the export. Returns how many files are missing.
        """
