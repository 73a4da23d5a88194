"""The URLs of the web pages, for any prefix."""

from django.urls import URLPattern, URLResolver, include, path
from django.views.i18n import set_language

from taskyard.web import project
from taskyard.web.views import site, submit, tasks

app_name = "taskyard_web"
urlpatterns: list[URLPattern | URLResolver] = [
    path("", site.home, name="home"),
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
    path("theme/", site.theme, name="theme"),
    path("language/", set_language, name="language"),
]

if project.has_accounts():
    from taskyard.web.views import account

    urlpatterns += [
        path("sign-in/", account.sign_in, name="sign-in"),
        path("register/", account.register, name="register"),
        path("sign-out/", account.sign_out, name="sign-out"),
        path("password/", account.password, name="password"),
    ]

if project.has_staff_pages():
    urlpatterns.append(path("staff/", include("taskyard.web.staff.urls")))
