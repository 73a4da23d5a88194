"""The URLs of our own project."""

from typing import cast

from django.contrib import admin
from django.urls import include, path, re_path, reverse_lazy

from taskyard.server.favicon import favicon
from taskyard.server.metrics import Metrics

# Django's default would lose the last slash after TASKYARD_BASE_PATH.
admin.site.site_url = cast("str", reverse_lazy("taskyard_web:home"))

urlpatterns = [
    path("api/", include("taskyard.api.urls")),
    re_path(r"^metrics/?\Z", Metrics.as_view()),
    path("admin/", admin.site.urls),
    path("favicon.ico", favicon, name="favicon"),
    path("", include("taskyard.web.urls")),
]

handler400 = "taskyard.api.errors.bad_request"
handler403 = "taskyard.api.errors.forbidden"
handler404 = "taskyard.api.errors.not_found"
handler500 = "taskyard.api.errors.server_error"
