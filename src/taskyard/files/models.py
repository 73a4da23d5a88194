"""The record of files: each has a row before its first byte is written, so that none is lost."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import SET_NULL, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from taskyard.core.models import Task


class Role(models.TextChoices):
    INPUT = "input", _("input file")
    OUTPUT = "output", _("output file")


class State(models.TextChoices):
    """Only a ready file is visible."""

    WRITING = "writing"
    """Its bytes arrive."""
    WRITTEN = "written"
    """An output that is whole, of an attempt that has not ended."""
    READY = "ready"
    DELETING = "deleting"
    """Its bytes are to be deleted, and then the row."""


def delete_with_owner(collector: Any, field: Any, files: Any, using: str) -> None:
    """What happens to files when their owner is deleted: the sweep deletes them soon."""
    model = StoredFile._meta
    collector.add_field_update(model.get_field("state"), State.DELETING, files)
    collector.add_field_update(model.get_field("expires_at"), None, files)
    SET_NULL(collector, field, files, using)


# The rows need not be read when an owner is deleted.
delete_with_owner.lazy_sub_objs = True  # type: ignore[attr-defined]


class StoredFile(models.Model):
    """A file in the storage.

    ``size`` counts for the owner; while the file is written, it is what was reserved, and
    ``received`` what has arrived. ``task``, ``attempt`` and ``fence`` are those that save an
    output; no fence means that a suspended attempt has kept the file. The file is deleted after
    ``expires_at``: an unused input, or an input whose writer has died. Outputs of lost attempts and
    without a task, and used inputs that no task uses any more, are deleted too (``files.sweep``).
    """

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=delete_with_owner,
        null=True,
        related_name="+",
        db_index=False,
    )
    name = models.CharField(_("name"), max_length=255)
    content_type = models.CharField(_("content type"), max_length=127, default="")
    size = models.BigIntegerField(_("size"), default=0)
    received = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, default="")
    key = models.CharField(max_length=200, unique=True)
    role = models.CharField(_("role"), max_length=6, choices=Role.choices)
    state = models.CharField(max_length=8, choices=State.choices, default=State.WRITING)
    task = models.ForeignKey(
        Task, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False
    )
    attempt = models.IntegerField(null=True)
    fence = models.IntegerField(null=True)
    created_at = models.DateTimeField(_("created at"), db_default=Now())
    expires_at = models.DateTimeField(_("expires at"), null=True)

    class Meta:
        verbose_name = _("file")
        verbose_name_plural = _("files")
        indexes = [
            models.Index(fields=["owner", "id"], name="file_owner"),
            models.Index(fields=["task"], name="file_task", condition=Q(task__isnull=False)),
            models.Index(
                fields=["expires_at"], name="file_expires", condition=Q(expires_at__isnull=False)
            ),
            models.Index(fields=["id"], name="file_unfinished", condition=~Q(state="ready")),
            models.Index(
                fields=["id"], name="file_without_task", condition=Q(role="output", task=None)
            ),
        ]
        constraints = [
            models.CheckConstraint(
                name="file_size_not_negative", condition=Q(size__gte=0, received__gte=0)
            ),
        ]

    def __str__(self) -> str:
        return self.name


class FileUse(models.Model):
    """A task uses a file as an input. Without a task: the task was deleted."""

    task = models.ForeignKey(
        Task, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False
    )
    file = models.ForeignKey(StoredFile, on_delete=models.CASCADE, related_name="uses")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "file"], name="file_use_once_a_task")
        ]
        indexes = [models.Index(fields=["id"], name="file_use_over", condition=Q(task=None))]

    def __str__(self) -> str:
        return f"{self.task_id} {self.file_id}"


class FileUsage(models.Model):
    """The number and the bytes of a user's files, in all states but DELETING."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    bytes = models.BigIntegerField(default=0)
    files = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="file_usage_not_negative", condition=Q(bytes__gte=0, files__gte=0)
            )
        ]

    def __str__(self) -> str:
        return f"{self.user_id}: {self.bytes}"
