"""The record: tasks, their past attempts, quota counters, and the leases of workers.

Only ``core.lifecycle`` and ``core.transitions`` change the state of a task.
"""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from taskyard.core import encryption
from taskyard.core.conf import conf
from taskyard.core.fields import JsonText
from taskyard.core.querysets import ShareQuerySet, TaskQuerySet, WorkerQuerySet
from taskyard.core.states import ACTIVE, TERMINAL, Priority, Status
from taskyard.core.types import UserId


class Worker(models.Model):
    """A worker's lease: it is believed alive until ``lease_until``, by the database's clock."""

    host = models.CharField(max_length=200)
    pid = models.IntegerField()
    concurrency = models.IntegerField()
    queues = models.JSONField()
    version = models.CharField(max_length=50)
    started_at = models.DateTimeField(db_default=Now())
    lease_until = models.DateTimeField()

    objects = WorkerQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.host}/{self.pid}"


class Quota(models.Model):
    """How many tasks a user has, and how many active ones are allowed (null: the common limit).

    Ended tasks are counted here too, so that a list knows its length without a count.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="+",
    )
    active = models.IntegerField(_("active tasks"), default=0, editable=False)
    active_limit = models.PositiveIntegerField(_("limit of active tasks"), null=True, blank=True)
    completed = models.BigIntegerField(default=0, db_default=0, editable=False)
    error = models.BigIntegerField(default=0, db_default=0, editable=False)
    cancelled = models.BigIntegerField(default=0, db_default=0, editable=False)
    # How many of the ended tasks were deleted since; not part of the counts above.
    deleted_completed = models.BigIntegerField(default=0, db_default=0, editable=False)
    deleted_error = models.BigIntegerField(default=0, db_default=0, editable=False)
    deleted_cancelled = models.BigIntegerField(default=0, db_default=0, editable=False)
    # The sum of the ``size`` of the user's tasks.
    bytes = models.BigIntegerField(default=0, db_default=0, editable=False)
    # How many seconds the user gets for each one of a user with the weight 1.
    weight = models.FloatField(_("weight"), default=1, db_default=1)
    # The theoretical arrival time of the generic cell rate algorithm, which limits submits, in
    # seconds since 1970 by the database's clock.
    rate_at = models.FloatField(default=0, db_default=0, editable=False)

    class Meta:
        verbose_name = _("quota")
        verbose_name_plural = _("quotas")
        constraints = [
            models.CheckConstraint(condition=Q(active__gte=0), name="quota_active_not_negative"),
            models.CheckConstraint(
                condition=Q(completed__gte=0, error__gte=0, cancelled__gte=0),
                name="quota_ended_not_negative",
            ),
            models.CheckConstraint(condition=Q(weight__gt=0), name="quota_weight_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id}: {self.active}"

    @classmethod
    def of(cls, owner_id: UserId) -> tuple[int, int]:
        """How many active tasks the owner may have, and has."""
        found = cls.objects.filter(user_id=owner_id).values_list("active_limit", "active").first()
        override, active = found or (None, 0)
        return conf().ACTIVE_LIMIT if override is None else override, active

    def ended(self, statuses: Iterable[str] = TERMINAL) -> int:
        """How many of the user's tasks are in these states, of which only terminal ones count."""
        return sum(getattr(self, status) for status in TERMINAL.intersection(statuses))


PROGRESS_KEYS = {"current", "total", "percent", "message", "updated_at"}
FAILURES = Q(status__in=[Status.CANCELLED, Status.ERROR])


class Task(models.Model):
    """One task, from its acceptance to its result. A system task has no owner.

    ``attempt`` counts the attempts charged; ``fence`` grows with every claim, and only the holder
    of the current one may write. ``claimed_at`` is when the current attempt began; a claim after
    a sleep leaves it. An active task is always in exactly one place: ``ready`` for a
    worker, waiting for ``wake_at``, or held by ``worker``. ``changed`` is the number of the
    transaction (on SQLite: the tick) that last changed fields that its owner sees; streams resume
    from it.
    """

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        related_name="+",
        db_index=False,
    )
    task_type = models.CharField(_("task type"), max_length=200)
    queue = models.CharField(_("queue"), max_length=50)
    input_data = JsonText(_("input"))
    status = models.CharField(
        _("status"), max_length=11, choices=Status.choices, default=Status.PENDING
    )
    result = JsonText(_("result"), null=True)
    error_code = models.CharField(_("error code"), max_length=100, default="")
    error_message = models.TextField(_("error message"), default="")
    progress = JsonText(_("progress"), null=True)
    tags = models.JSONField(_("tags"), default=list)
    priority = models.SmallIntegerField(
        _("priority"), choices=Priority.choices, default=Priority.NORMAL
    )
    timeout_seconds = models.FloatField(_("timeout, seconds"), null=True)
    retry_of = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, db_index=False)

    created_at = models.DateTimeField(_("created"), db_default=Now())
    run_at = models.DateTimeField(_("run at"), null=True)
    started_at = models.DateTimeField(_("started"), null=True)
    claimed_at = models.DateTimeField(_("claimed"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    cancel_requested_at = models.DateTimeField(_("cancel requested"), null=True)
    cancel_requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        db_index=False,
    )

    attempt = models.IntegerField(_("attempt"), default=0)
    max_attempts = models.IntegerField(_("attempts at most"), default=3)
    fence = models.IntegerField(default=0)
    # Tasks of a higher band come first, also before those of other owners.
    band = models.SmallIntegerField(default=0, db_default=0)
    ready = models.BooleanField(default=True)
    wake_at = models.DateTimeField(null=True)
    resumes = models.BooleanField(default=False)
    slept = models.IntegerField(default=0)
    checkpoint = JsonText(null=True)
    worker = models.ForeignKey(
        Worker, on_delete=models.DO_NOTHING, null=True, db_constraint=False, db_index=False
    )
    process = models.IntegerField(null=True)
    changed = models.BigIntegerField(default=0)
    # The bytes that count for the owner: input, result, and a constant for the row itself.
    size = models.IntegerField(default=0, db_default=0)

    # Whether it uses or has saved files (``taskyard.files``).
    has_files = models.BooleanField(default=False, db_default=False)

    objects = TaskQuerySet.as_manager()

    class Meta:
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        indexes = [
            models.Index(fields=["owner", "id"], name="task_owner"),
            models.Index(fields=["owner", "id"], name="task_active", condition=Q(finished_at=None)),
            models.Index(
                fields=["queue", "-band", "owner", "-priority", "id"],
                name="task_ready",
                condition=Q(ready=True),
            ),
            models.Index(fields=["wake_at"], name="task_wake", condition=Q(wake_at__isnull=False)),
            models.Index(fields=["worker"], name="task_held", condition=Q(worker__isnull=False)),
            # Partial index over ended tasks: active tasks are few, and change often.
            models.Index(
                fields=["owner", "changed"],
                name="task_ended",
                condition=Q(finished_at__isnull=False),
            ),
            models.Index(
                fields=["retry_of"], name="task_retries", condition=Q(retry_of__isnull=False)
            ),
            # Partial indexes over failed and cancelled tasks; completed tasks are not indexed.
            models.Index(fields=["finished_at"], name="task_failed", condition=FAILURES),
            models.Index(fields=["owner", "id"], name="task_owner_failed", condition=FAILURES),
        ]
        constraints = [
            models.CheckConstraint(
                name="task_status_known", condition=Q(status__in=sorted(ACTIVE | TERMINAL))
            ),
            models.CheckConstraint(
                name="task_finished_when_terminal",
                condition=Q(status__in=sorted(TERMINAL), finished_at__isnull=False)
                | Q(status__in=sorted(ACTIVE), finished_at__isnull=True),
            ),
            models.CheckConstraint(
                name="task_in_one_place",
                condition=Q(ready=True, wake_at=None, worker=None, finished_at=None)
                | Q(ready=False, wake_at__isnull=False, worker=None, finished_at=None)
                | Q(ready=False, wake_at=None, worker__isnull=False, finished_at=None)
                | Q(ready=False, wake_at=None, worker=None, finished_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task_type} {self.pk}"

    @property
    def shown_input(self) -> dict[str, Any] | None:
        """The input with dots in place of its secrets; None if it was deleted at the end."""
        shown: dict[str, Any] | None = encryption.shown(self.task_type, self.input_data)
        return shown

    @property
    def shown_progress(self) -> dict[str, Any] | None:
        """The last progress reported; a completed task shows the whole."""
        last: dict[str, Any] | None = self.progress
        if not isinstance(last, dict) or not last.keys() >= PROGRESS_KEYS:
            return None  # no progress, or not in our format
        if last["percent"] is None or self.status != Status.COMPLETED:
            return last
        return {**last, "current": last["total"], "percent": 100.0}


class Attempt(models.Model):
    """A past attempt that did not end the task. The last or current one is on the task itself."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="attempts")
    number = models.IntegerField()
    fence = models.IntegerField()
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(db_default=Now())
    error_code = models.CharField(max_length=100)
    error_message = models.TextField(default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "fence"], name="attempt_once_a_fence")
        ]

    def __str__(self) -> str:
        return f"{self.task_id}#{self.number}"


class AttemptWorker(models.Model):
    """The worker that ran an attempt, as ``host/pid/process``; written for Django tasks only."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="workers", db_index=False)
    attempt = models.IntegerField()
    worker = models.CharField(max_length=250)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "attempt"], name="worker_once_an_attempt")
        ]

    def __str__(self) -> str:
        return self.worker


class AttemptTraceback(models.Model):
    """The exception that ended an attempt, and where in the author's code it came from."""

    task = models.ForeignKey(
        Task, on_delete=models.CASCADE, related_name="tracebacks", db_index=False
    )
    fence = models.IntegerField()
    exception_type = models.CharField(max_length=300)
    location = models.CharField(max_length=300)
    text = models.TextField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "fence"], name="traceback_once_a_fence")
        ]

    def __str__(self) -> str:
        return f"{self.exception_type} at {self.location}"


class LogLine(models.Model):
    """A line of a task's log; ``dropped`` counts lines after it that exceeded the limit.

    ``level`` is that of a record of ``logging``, empty if the handler wrote it with ``Run.log``.
    """

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="log_lines")
    attempt = models.IntegerField()
    at = models.DateTimeField()
    level = models.CharField(max_length=20, default="")
    message = models.TextField()
    dropped = models.IntegerField(default=0)

    def __str__(self) -> str:
        return self.message


class PausedQueue(models.Model):
    """A queue that staff has paused: none of its tasks is claimed."""

    name = models.CharField(max_length=50, primary_key=True)
    paused_at = models.DateTimeField(db_default=Now())
    paused_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )

    class Meta:
        verbose_name = _("paused queue")
        verbose_name_plural = _("paused queues")

    def __str__(self) -> str:
        return self.name


class Share(models.Model):
    """The seconds that an owner has used in a queue, by weight, while others waited there too.

    The system tasks have no owner. ``core/fair_queue.py`` writes the rows, and no lock on a user
    may hold it up.
    """

    queue = models.CharField(max_length=50)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        null=True,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    seconds = models.FloatField()
    # When a process last noted that it has run tasks of this owner.
    served_at = models.DateTimeField(null=True)

    objects = ShareQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["queue", "owner"], name="share_once_an_owner"),
            models.UniqueConstraint(
                fields=["queue"], name="share_once_the_system", condition=Q(owner=None)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.queue} {self.owner_id}: {self.seconds}"


class AuditEntry(models.Model):
    """A deed of staff, or of a user at a log-in. Rows never change.

    The name stays if the user is deleted. ``by`` is null if no user is proven: of a command, and of
    a failed log-in, where the name is the one that was tried.
    """

    at = models.DateTimeField(_("when"), db_default=Now())
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("who"),
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        db_index=False,
    )
    by_name = models.CharField(_("name"), max_length=254, default="")
    action = models.CharField(_("action"), max_length=50)
    target = models.CharField(_("target"), max_length=200, default="")
    address = models.CharField(_("address"), max_length=64, default="", db_default="")
    details = models.JSONField(_("details"), default=dict)

    class Meta:
        verbose_name = _("audit line")
        verbose_name_plural = _("audit lines")
        indexes = [
            models.Index(fields=["at", "id"], name="audit_at"),
            models.Index(fields=["action", "at"], name="audit_action"),
            models.Index(fields=["by_name", "at"], name="audit_by"),
        ]
        # What makes a role (``core/roles.py``).
        permissions = [
            ("view_staff", "Can see the pages of staff and change nothing"),
            ("operate", "Can change tasks, queues and users on the pages of staff"),
        ]

    def __str__(self) -> str:
        return f"{self.by_name}: {self.action} {self.target}"


class IdempotencyKey(models.Model):
    """A request that was accepted under a key; a repeated request gets the same tasks.

    Keys of system tasks have no owner.
    """

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="+"
    )
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    task_ids = models.JSONField(default=list)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner", "key"], name="idempotency_key_once_an_owner"),
            models.UniqueConstraint(
                fields=["key"], name="idempotency_key_once", condition=Q(owner=None)
            ),
        ]
        indexes = [models.Index(fields=["created_at"], name="idempotency_key_age")]

    def __str__(self) -> str:
        return self.key


class Clock(models.Model):
    """One row: the tick of the last change on SQLite; PostgreSQL numbers its transactions."""

    ticks = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return str(self.ticks)


class Installation(models.Model):
    """One row: the id in all our names in Redis (``core/installation.py``)."""

    key = models.CharField(max_length=20)

    def __str__(self) -> str:
        return self.key


class FormerTotal(models.Model):
    """The counts of deleted users: how many of their tasks ended in a state, or were active."""

    name = models.CharField(max_length=20, primary_key=True)
    count = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name}: {self.count}"


class DurationCount(models.Model):
    """How many tasks waited or ran at most ``le`` seconds, and longer than the next lower bound.

    ``measure`` is wait or run, ``status`` how the tasks ended, ``seconds`` the sum
    (``core/durations.py``).
    """

    measure = models.CharField(max_length=4)
    task_type = models.CharField(max_length=200)
    status = models.CharField(max_length=11)
    le = models.CharField(max_length=10)
    count = models.BigIntegerField()
    seconds = models.FloatField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["measure", "task_type", "status", "le"], name="duration_count_once_a_bucket"
            )
        ]

    def __str__(self) -> str:
        return f"{self.measure} {self.task_type} {self.status} {self.le}: {self.count}"


class DurationCursor(models.Model):
    """One row: the ``engine().snapshot()`` whose ended tasks are in ``DurationCount``."""

    cursor = models.TextField()

    def __str__(self) -> str:
        return self.cursor


class ImportedId(models.Model):
    """The id that a row of another installation got here (``core/transfer/importer.py``).

    It stays when the row is deleted, so that a later import does not bring the row back.
    """

    source = models.CharField(max_length=300)
    kind = models.CharField(max_length=5)
    source_id = models.BigIntegerField()
    local_id = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source", "kind", "source_id"], name="imported_id_once_a_row"
            )
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.kind} {self.source_id}: {self.local_id}"
