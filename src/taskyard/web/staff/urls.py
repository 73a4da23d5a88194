"""The URLs of the staff pages, under ``staff/`` of the pages."""

from django.urls import path

from taskyard.web import project
from taskyard.web.staff.views import audit, bulk, errors, overview, queues, tasks, users

urlpatterns = [
    path("", overview.overview, name="staff-overview"),
    path("tasks/", tasks.tasks, name="staff-tasks"),
    path("tasks/cancel/", bulk.cancel, name="staff-cancel"),
    path("tasks/retry/", bulk.retry, name="staff-retry"),
    path("tasks/<int:task_id>/", tasks.task, name="staff-task"),
    path("queues/", queues.queues, name="staff-queues"),
    path("queues/pause/", queues.pause, name="staff-pause"),
    path("queues/resume/", queues.resume, name="staff-resume"),
    path("errors/", errors.errors, name="staff-errors"),
    path("users/", users.users, name="staff-users"),
    # The primary key of any user model; a text may contain slashes.
    path("users/<path:user_id>/limit/", users.limit, name="staff-limit"),
    path("audit/", audit.audit, name="staff-audit"),
]

if project.has_accounts():
    from taskyard.web.staff.views import suspension

    urlpatterns += [
        path("users/<path:user_id>/suspend/", suspension.suspend, name="staff-suspend"),
        path("users/<path:user_id>/restore/", suspension.restore, name="staff-restore"),
    ]
