"""The addresses of the API. Each works with and without its trailing slash, without a redirect."""

from typing import Any

from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt

from taskyard.api.views import accounts, events, openapi, queues, submit, task_types, tasks
from taskyard.api.views.base import ApiView

app_name = "api"
ONE = "tasks/(?P<task_id>[0-9]{1,19})"


def at(route: str, view: type[ApiView], name: str | None = None) -> Any:
    # reverse() takes an optional slash as none; \Z, for $ would let a line feed follow.
    handler: Any = view.as_view()
    return re_path(rf"^{route}/?\Z", handler, name=name)


urlpatterns = [
    # First what is asked most: they are tried in turn.
    at("tasks/create", submit.TaskCreate, "create"),
    at(ONE, tasks.TaskDetail, "task"),
    at("tasks", tasks.Tasks),
    at("register", accounts.Register),
    at("token", accounts.Token),
    at("token/refresh", accounts.TokenRefresh),
    at("token/blacklist", accounts.TokenBlacklist),
    at("token/verify", accounts.TokenVerify),
    at("me", accounts.Me),
    at("me/password", accounts.MePassword),
    at("limits", accounts.Limits),
    at("task-types", task_types.TaskTypes),
    at("task-types/(?P<name>[^/]+)", task_types.TaskTypeDetail),
    at("tasks/bulk", submit.TaskBulk),
    at("tasks/events", events.AllEvents),
    at(f"{ONE}/cancel", tasks.TaskCancel),
    at(f"{ONE}/retry", tasks.TaskRetry),
    at(f"{ONE}/attempts", tasks.TaskAttempts),
    at(f"{ONE}/logs", tasks.TaskLogs),
    at(f"{ONE}/events", events.TaskEvents),
    at("queues", queues.Queues),
    at("queues/(?P<name>[^/]+)/pause", queues.QueuePause),
    at("queues/(?P<name>[^/]+)/resume", queues.QueueResume),
    at("schema", openapi.Schema, "schema"),
    at("docs", openapi.Docs, "docs"),
    re_path("", csrf_exempt(openapi.nothing_here)),
]
