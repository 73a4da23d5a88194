"""The API under another prefix, and more paths of its views, for tests of the paths."""

from django.apps import apps
from django.urls import include, path

from taskyard.api.views.events import AllEvents, TaskEvents
from taskyard.api.views.tasks import TaskDetail

urlpatterns = [
    path("jobs/v1/", include("taskyard.api.urls")),
    path("more/changes", AllEvents.as_view()),
    path("more/<int:task_id>/changes/", TaskEvents.as_view()),
    path("more/<int:task_id>/", TaskDetail.as_view()),
]
if apps.is_installed("taskyard.web"):
    urlpatterns.append(path("", include("taskyard.web.urls")))
