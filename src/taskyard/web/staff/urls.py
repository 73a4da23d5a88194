"""The URLs of the staff pages, under /staff/."""

from django.urls import path

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
    path("users/<int:user_id>/limit/", users.limit, name="staff-limit"),
    path("users/<int:user_id>/suspend/", users.suspend, name="staff-suspend"),
    path("users/<int:user_id>/restore/", users.restore, name="staff-restore"),
    path("audit/", audit.audit, name="staff-audit"),
]
