"""The URLs of the API. Each works with and without its trailing slash, without a redirect."""

from typing import Any

from django.apps import apps
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt

from taskyard.api.views import events, limits, openapi, queues, share, submit, task_types, tasks
from taskyard.api.views.base import ApiView

app_name = "taskyard_api"
ONE = "tasks/(?P<task_id>[0-9]{1,19})"


def route(pattern: str, view: type[ApiView], name: str | None = None) -> Any:
    # reverse() leaves an optional slash out. \Z, because $ also matches before a line feed.
    handler: Any = view.as_view()
    return re_path(rf"^{pattern}/?\Z", handler, name=name)


urlpatterns = [
    # Django tries them in order, so the most frequent come first.
    route("tasks/create", submit.TaskCreate, "create"),
    route(ONE, tasks.TaskDetail, "task"),
    route("tasks", tasks.Tasks),
    route("limits", limits.Limits),
    route("task-types", task_types.TaskTypes),
    route("task-types/(?P<name>[^/]+)", task_types.TaskTypeDetail),
    route("tasks/bulk", submit.TaskBulk),
    route("tasks/events", events.AllEvents),
    route(f"{ONE}/cancel", tasks.TaskCancel),
    route(f"{ONE}/retry", tasks.TaskRetry),
    route(f"{ONE}/attempts", tasks.TaskAttempts),
    route(f"{ONE}/logs", tasks.TaskLogs),
    route(f"{ONE}/events", events.TaskEvents),
    route(f"{ONE}/share", share.TaskShare),
    route("shared", share.Shared, "shared"),
    route("shared/events", share.SharedEvents),
    route("queues", queues.Queues),
    route("queues/(?P<name>[^/]+)/pause", queues.QueuePause),
    route("queues/(?P<name>[^/]+)/resume", queues.QueueResume),
    route("schema", openapi.Schema, "schema"),
]
if apps.is_installed("taskyard.accounts"):
    from taskyard.api.views import accounts, keys, sso, subjects

    urlpatterns += [
        route("register", accounts.Register),
        route("token", accounts.Token),
        route("token/refresh", accounts.TokenRefresh),
        route("token/blacklist", accounts.TokenBlacklist),
        route("token/verify", accounts.TokenVerify),
        route("subjects", subjects.Subjects),
        route("subjects/(?P<name>[^/]+)/token", subjects.SubjectToken),
        route("password/reset", accounts.PasswordReset),
        route("password/reset/confirm", accounts.PasswordResetConfirm),
        route("me", accounts.Me),
        route("me/password", accounts.MePassword),
        route("keys", keys.Keys),
        route("keys/(?P<key_id>[0-9]{1,19})", keys.Key),
        route("sso", sso.SingleSignOn),
    ]
if apps.is_installed("taskyard.files"):
    from taskyard.api.views import direct, files, shared_files

    FILE = "files/(?P<file_id>[0-9]{1,19})"
    urlpatterns += [
        route("files", files.Files),
        route(FILE, files.FileDetail, "file"),
        route(f"{FILE}/content", files.FileContent, "file_content"),
        route(f"{FILE}/upload", files.FileUpload, "file_upload"),
        route("files/presign", direct.Presign),
        route(f"shared/{FILE}/content", shared_files.SharedFileContent),
        route(f"{FILE}/complete", direct.Complete),
    ]
# The page loads Swagger UI as static files.
if apps.is_installed("drf_spectacular_sidecar") and apps.is_installed("django.contrib.staticfiles"):
    urlpatterns += [route("docs", openapi.Docs, "docs")]
urlpatterns += [re_path("", csrf_exempt(openapi.nothing_here))]
