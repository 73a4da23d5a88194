"""The admin of files, which can only be read: the staff pages delete them."""

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.http import HttpRequest

from taskyard.core import roles
from taskyard.files.models import StoredFile

# Django's classes take type parameters in the stubs, but not at run time.
if TYPE_CHECKING:
    FileBase = admin.ModelAdmin[StoredFile]
else:
    FileBase = admin.ModelAdmin


@admin.register(StoredFile)
class FileAdmin(FileBase):
    list_display = ("id", "owner", "name", "content_type", "size", "role", "state", "created_at")
    list_display_links = ("id", "name")
    list_filter = ("role", "state")
    list_select_related = ("owner",)
    search_fields = ("=id", f"=owner__{get_user_model().USERNAME_FIELD}")
    ordering = ("-id",)
    # The key leads to the bytes.
    exclude = ("key",)
    show_full_result_count = False

    def has_view_permission(self, request: HttpRequest, obj: StoredFile | None = None) -> bool:
        """As Django's permissions say; names of files are data, which a viewer may not see."""
        return super().has_view_permission(request, obj) and roles.sees_data(request.user)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: StoredFile | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: StoredFile | None = None) -> bool:
        return False
