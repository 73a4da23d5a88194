"""Which room answers which address."""

from django.contrib import admin
from django.urls import include, path

from taskyard.server.metrics import Metrics

urlpatterns = [
    path("api/", include("taskyard.api.urls")),
    path("metrics", Metrics.as_view()),
    path("admin/", admin.site.urls),
    path("", include("taskyard.dashboard.urls")),
]

handler400 = "taskyard.api.errors.bad_request"
handler403 = "taskyard.api.errors.forbidden"
handler404 = "taskyard.api.errors.not_found"
handler500 = "taskyard.api.errors.server_error"
