"""Which room answers which address."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("api/", include("taskyard.api.urls")),
    path("admin/", admin.site.urls),
    path("", RedirectView.as_view(url="/api/docs/")),
]

handler400 = "taskyard.api.errors.bad_request"
handler403 = "taskyard.api.errors.forbidden"
handler404 = "taskyard.api.errors.not_found"
handler500 = "taskyard.api.errors.server_error"
