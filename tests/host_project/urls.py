"""The addresses of the host project."""

from django.urls import include, path

urlpatterns = [path("internal/jobs/", include("taskyard.api.urls"))]
