"""The states of a task and the transitions between them."""

from django.db.models import IntegerChoices, TextChoices
from django.utils.translation import gettext_lazy as _


class Status(TextChoices):
    PENDING = "pending", _("Scheduled")
    IN_PROGRESS = "in_progress", _("Running")
    COMPLETED = "completed", _("Completed")
    ERROR = "error", _("Error")
    CANCELLED = "cancelled", _("Cancelled")


class Priority(IntegerChoices):
    LOW = 0, _("low")
    NORMAL = 1, _("normal")
    HIGH = 2, _("high")

    @classmethod
    def nearest(cls, value: int) -> "Priority":
        """The priority to show for a row's number; the database accepts any number."""
        return cls(min(max(value, cls.LOW), cls.HIGH))


TRANSITIONS: dict[Status, frozenset[Status]] = {
    # The fast path writes claim and end at once, so a task goes from pending to its end.
    Status.PENDING: frozenset(
        {Status.IN_PROGRESS, Status.COMPLETED, Status.ERROR, Status.CANCELLED}
    ),
    Status.IN_PROGRESS: frozenset(
        {Status.PENDING, Status.COMPLETED, Status.ERROR, Status.CANCELLED}
    ),
    Status.COMPLETED: frozenset(),
    Status.ERROR: frozenset(),
    Status.CANCELLED: frozenset(),
}
TERMINAL = frozenset(status for status, onward in TRANSITIONS.items() if not onward)
ACTIVE = frozenset(TRANSITIONS) - TERMINAL
FAILED = frozenset({Status.ERROR, Status.CANCELLED})
