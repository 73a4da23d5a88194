"""Users and their quotas, for staff."""

from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.forms import BaseInlineFormSet, ModelForm
from django.http import HttpRequest

from taskyard.accounts import suspension
from taskyard.accounts.models import User
from taskyard.core import lifecycle, quotas
from taskyard.core.models import Quota

# Django's classes take type parameters in the stubs, but not at run time.
if TYPE_CHECKING:
    Inline = admin.StackedInline[Quota, User]
    Base = UserAdmin[User]
    FormSet = BaseInlineFormSet[Quota, User, ModelForm[Quota]]
else:
    Inline, Base, FormSet = admin.StackedInline, UserAdmin, BaseInlineFormSet


PERMISSION_FIELDS = ("is_staff", "is_superuser", "groups", "user_permissions")


def _protected(request: HttpRequest, obj: User | None) -> bool:
    return obj is not None and suspension.is_above(obj, cast("User", request.user))


class QuotaFormSet(FormSet):
    @classmethod
    def get_default_prefix(cls) -> str:
        return "quota"  # Django's is the related name, and ours is "+"


class QuotaInline(Inline):
    model = Quota
    formset = QuotaFormSet
    fields = ("active_limit", "active")
    readonly_fields = ("active",)
    can_delete = False


@admin.register(User)
class TaskyardUserAdmin(Base):
    inlines = (QuotaInline,)

    def get_inlines(self, request: HttpRequest, obj: User | None) -> Any:
        # A user that is being added has no quota yet.
        return self.inlines if obj else ()

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if request.user.is_superuser else (*fields, *PERMISSION_FIELDS)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and not _protected(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not _protected(request, obj)

    def save_model(
        self, request: HttpRequest, obj: User, form: "ModelForm[Any]", change: bool
    ) -> None:
        super().save_model(request, obj, form, change)
        if change and "is_active" in form.changed_data:
            suspension.record(obj, by_id=request.user.pk)
        lifecycle.open_quota(obj.pk)

    def save_formset(
        self,
        request: HttpRequest,
        form: "ModelForm[Any]",
        formset: "BaseInlineFormSet[Any, Any, Any]",
        change: bool,
    ) -> None:
        # Save the limit only: the counter changes while the form is open.
        for quota in formset.save(commit=False):
            quotas.change_limit(quota.user_id, quota.active_limit, by_id=request.user.pk)
