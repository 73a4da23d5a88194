"""Users and their quotas, for staff."""

from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.forms import BaseInlineFormSet, ModelForm
from django.http import HttpRequest, HttpResponse

from taskyard.accounts import suspension
from taskyard.accounts.models import ApiKey, User
from taskyard.core import audit, lifecycle, quotas, roles
from taskyard.core.models import Quota

# Django's classes take type parameters in the stubs, but not at run time.
if TYPE_CHECKING:
    Inline = admin.StackedInline[Quota, User]
    Base = UserAdmin[User]
    KeyBase = admin.ModelAdmin[ApiKey]
    FormSet = BaseInlineFormSet[Quota, User, ModelForm[Quota]]
else:
    Inline, Base, FormSet = admin.StackedInline, UserAdmin, BaseInlineFormSet
    KeyBase = admin.ModelAdmin


# The name and the powers of a service account or a subject are not for the admin.
MACHINE_FIELDS = ("username", "email", "is_staff", "is_superuser", "groups")
PERMISSION_FIELDS = ("is_staff", "is_superuser", "groups", "user_permissions")


def _protected(request: HttpRequest, obj: User | None) -> bool:
    return obj is not None and suspension.is_above(obj, cast("User", request.user))


def _operates(request: HttpRequest) -> bool:
    return roles.role_of(request.user) is roles.Role.OPERATOR


def _role(user_id: int) -> str:
    """The role as the audit log names it."""
    user = User.objects.get(pk=user_id)
    return "superuser" if user.is_superuser else str(roles.roles_of([user])[user_id])


def _password_of(user_id: str) -> tuple[str, str] | None:
    """The name and the password's hash; None if there is no such user."""
    if not user_id.isdecimal():
        return None
    return User.objects.filter(pk=user_id).values_list("username", "password").first()


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
        if obj is not None and obj.is_machine:
            fields = (*fields, *MACHINE_FIELDS)
        return fields if request.user.is_superuser else (*fields, *PERMISSION_FIELDS)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and _operates(request)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        may_change = super().has_change_permission(request, obj) and _operates(request)
        return may_change and not _protected(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        may_delete = super().has_delete_permission(request, obj) and _operates(request)
        return may_delete and not _protected(request, obj)

    def save_model(
        self, request: HttpRequest, obj: User, form: "ModelForm[Any]", change: bool
    ) -> None:
        form.instance.former_role = _role(obj.pk) if change else str(roles.Role.OWNER)
        super().save_model(request, obj, form, change)
        if change and "is_active" in form.changed_data:
            suspension.record(obj, by_id=request.user.pk)
        lifecycle.open_quota(obj.pk)

    def save_related(
        self, request: HttpRequest, form: "ModelForm[Any]", formsets: Any, change: bool
    ) -> None:
        super().save_related(request, form, formsets, change)
        # Groups are saved here, after the user.
        before, after = form.instance.former_role, _role(form.instance.pk)
        if before != after:
            name = form.instance.username
            audit.record(request.user.pk, "change_role", name, before=before, after=after)
        roles.forget_links()

    def user_change_password(
        self, request: HttpRequest, id: str, form_url: str = ""
    ) -> HttpResponse:
        before = _password_of(id)
        response = super().user_change_password(request, id, form_url)
        if before is not None and _password_of(id) != before:
            audit.record(request.user.pk, "set_password", before[0])
        return response

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


@admin.register(ApiKey)
class ApiKeyAdmin(KeyBase):
    """Shows which keys there are. Their users make and revoke them."""

    list_display = ("prefix", "name", "user", "created_at", "expires_at", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("=prefix", "=user__username")
    ordering = ("-id",)
    fields = (
        *("user", "name", "prefix", "scopes", "task_types"),
        *("created_at", "expires_at", "last_used_at"),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Only with a user who is being deleted, for which Django asks here too."""
        match = request.resolver_match
        is_of_user = match is not None and "apikey" not in (match.url_name or "")
        return is_of_user and super().has_delete_permission(request, obj)
