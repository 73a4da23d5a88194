"""The admin of tasks, paused queues and the audit log. Tasks can be read and cancelled only."""

import json
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from taskyard.catalog.task_type import registry
from taskyard.core import audit, deletion, lifecycle, queues, roles
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


# What viewers see only with TASKYARD_VIEWERS_SEE_DATA.
DATA_FIELDS = (
    *("input_data", "result", "error_message", "progress", "checkpoint"),
    *("address", "details"),
)


class ForRoles:
    """Operators change rows, by Django's permissions; viewers see them, without data of others."""

    model: Any

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _operates(request) and super().has_add_permission(request)  # type: ignore[misc]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _operates(request) and super().has_delete_permission(request, obj)  # type: ignore[misc]

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> Any:
        if roles.sees_data(request.user):
            return super().get_exclude(request, obj)  # type: ignore[misc]
        names = {field.name for field in self.model._meta.fields}
        return [name for name in DATA_FIELDS if name in names]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """As Django allows it; an address with a condition would tell what is hidden."""
        if lookup.partition(LOOKUP_SEP)[0] in DATA_FIELDS and not roles.sees_data(request.user):
            return False
        allowed: bool = super().lookup_allowed(lookup, value, request)  # type: ignore[misc]
        return allowed


def _operates(request: HttpRequest) -> bool:
    return roles.role_of(request.user) is roles.Role.OPERATOR


@admin.register(Task)
class TaskAdmin(ForRoles, TaskBase):
    list_display = ("id", "owner", "task_type", "status", "queue", "attempt", "created_at")
    list_display_links = ("id", "task_type")
    list_filter = ("status", "task_type", "queue", "priority")
    list_select_related = ("owner",)
    search_fields = ("=id", f"=owner__{get_user_model().USERNAME_FIELD}")
    ordering = ("-id",)
    # Counting all tasks takes longer than the query of one page.
    show_full_result_count = False
    actions = ("cancel",)
    exclude = ("input_data",)
    readonly_fields = ("shown_input",)

    @admin.display(description=_("input"))
    def shown_input(self, task: Task) -> str:
        """The input with dots in place of its secrets."""
        return json.dumps(task.shown_input, ensure_ascii=False)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The input, unless the viewer's role hides it."""
        return self.readonly_fields if roles.sees_data(request.user) else ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Task | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Task | None = None) -> bool:
        """Whether the task has ended. An active task holds a quota place and must be cancelled."""
        has_ended = obj is None or obj.finished_at is not None
        return has_ended and super().has_delete_permission(request, obj)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return _operates(request) and super().has_change_permission(request)

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
class PausedQueueAdmin(ForRoles, QueueBase):
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
class AuditAdmin(ForRoles, AuditBase):
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
