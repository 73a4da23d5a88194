"""The URLs of the web pages."""

from django.urls import include, path
from django.views.i18n import set_language

from taskyard.web.views import account, icon, submit, tasks

urlpatterns = [
    path("", account.home, name="home"),
    path("favicon.ico", icon.favicon, name="favicon"),
    path("tasks/", tasks.tasks, name="tasks"),
    path("tasks/new/", submit.choose, name="new-task"),
    path("tasks/new/<str:name>/", submit.new_task, name="new-task-of"),
    path("tasks/new/<str:name>/preview/", submit.preview, name="new-task-preview"),
    path("tasks/rows/", tasks.rows, name="task-rows"),
    path("tasks/change/", tasks.change, name="change-tasks"),
    path("tasks/<int:task_id>/", tasks.task, name="task"),
    path("tasks/<int:task_id>/part/", tasks.part, name="task-part"),
    path("tasks/<int:task_id>/cancel/", tasks.cancel, name="cancel-task"),
    path("tasks/<int:task_id>/retry/", tasks.retry, name="retry-task"),
    path("tasks/<int:task_id>/delete/", tasks.delete, name="delete-task"),
    path("events/", tasks.events, name="events"),
    path("sign-in/", account.sign_in, name="sign-in"),
    path("register/", account.register, name="register"),
    path("sign-out/", account.sign_out, name="sign-out"),
    path("password/", account.password, name="password"),
    path("theme/", account.theme, name="theme"),
    path("staff/", include("taskyard.web.staff.urls")),
    path("language/", set_language, name="language"),
]
