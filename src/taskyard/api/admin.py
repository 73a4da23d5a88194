"""The admin of tasks, paused queues and the audit log. Tasks can be read and cancelled only."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from taskyard.catalog.task_type import registry
from taskyard.core import audit, deletion, lifecycle, queues
from taskyard.core.errors import NotCancellable
from taskyard.core.models import AuditEntry, PausedQueue, Task

# Django's classes take type parameters in the stubs, but not at run time.
if TYPE_CHECKING:
    TaskBase = admin.ModelAdmin[Task]
    QueueBase = admin.ModelAdmin[PausedQueue]
    AuditBase = admin.ModelAdmin[AuditEntry]
    QueueFormBase = forms.ModelForm[PausedQueue]
else:
    TaskBase = QueueBase = AuditBase = admin.ModelAdmin
    QueueFormBase = forms.ModelForm


@admin.register(Task)
class TaskAdmin(TaskBase):
    list_display = ("id", "owner", "task_type", "status", "queue", "attempt", "created_at")
    list_display_links = ("id", "task_type")
    list_filter = ("status", "task_type", "queue", "priority")
    list_select_related = ("owner",)
    search_fields = ("=id", f"=owner__{get_user_model().USERNAME_FIELD}")
    ordering = ("-id",)
    # Counting all tasks takes longer than the query of one page.
    show_full_result_count = False
    actions = ("cancel",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Task | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Task | None = None) -> bool:
        """Whether the task has ended. An active task holds a quota place and must be cancelled."""
        has_ended = obj is None or obj.finished_at is not None
        return has_ended and super().has_delete_permission(request, obj)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return super().has_change_permission(request)

    def delete_model(self, request: HttpRequest, obj: Task) -> None:
        audit.record(request.user.pk, "delete_task", str(obj.pk))
        deletion.delete(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        for task in queryset:
            self.delete_model(request, task)

    @admin.action(description=_("Cancel the selected tasks"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        audit.record(request.user.pk, "cancel_tasks", count=queryset.count())
        cancelled = 0
        for task_id in queryset.values_list("id", flat=True):
            try:
                lifecycle.cancel(task_id, by_id=request.user.pk)
            except (NotCancellable, Task.DoesNotExist):
                continue
            cancelled += 1
        self.message_user(
            request,
            _("Cancelled, or asked to stop: %(asked)s.") % {"asked": cancelled},
            messages.SUCCESS,
        )


class PauseForm(QueueFormBase):
    name = forms.ChoiceField(
        label=_("queue"), choices=lambda: [(name, name) for name in registry.queues()]
    )


@admin.register(PausedQueue)
class PausedQueueAdmin(QueueBase):
    """Adding one pauses a queue, deleting one resumes it."""

    form = PauseForm
    fields = ("name",)
    list_display = ("name", "paused_at", "paused_by")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(
        self, request: HttpRequest, obj: PausedQueue, form: "forms.ModelForm[Any]", change: bool
    ) -> None:
        queues.pause(obj.name, by_id=request.user.pk)

    def delete_model(self, request: HttpRequest, obj: PausedQueue) -> None:
        queues.resume(obj.name, by_id=request.user.pk)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[PausedQueue]) -> None:
        for paused in queryset:
            queues.resume(paused.name, by_id=request.user.pk)


@admin.register(AuditEntry)
class AuditAdmin(AuditBase):
    list_display = ("at", "by_name", "action", "target")
    list_filter = ("action",)
    search_fields = ("=by_name", "=target")
    ordering = ("-id",)
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
