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

if project.has_files():
    from taskyard.web.views import files

    urlpatterns += [
        path("files/", files.files, name="files"),
        path("files/upload/", files.upload, name="upload"),
        path("files/<int:file_id>/upload/", files.upload_piece, name="upload-piece"),
        path("files/<int:file_id>/content/", files.content, name="file-content"),
        path("files/<int:file_id>/image/", files.image, name="file-image"),
        path("files/<int:file_id>/text/", files.text, name="file-text"),
        path("files/<int:file_id>/delete/", files.delete, name="delete-file"),
    ]

if project.has_api():
    from taskyard.web.views import share

    urlpatterns += [
        path("tasks/<int:task_id>/share/", share.share, name="share-task"),
        path("shared/", share.shared, name="shared"),
    ]

if project.has_accounts():
    from taskyard.web.views import account, account_mail, keys, sso

    urlpatterns += [
        path("sign-in/", account.sign_in, name="sign-in"),
        path("register/", account.register, name="register"),
        path("sign-out/", account.sign_out, name="sign-out"),
        path("password/", account.password, name="password"),
        path("keys/", keys.keys_page, name="keys"),
        path("keys/<int:key_id>/revoke/", keys.revoke, name="revoke-key"),
        path("sso/", sso.begin, name="sso"),
        path("sso/callback/", sso.callback, name="sso-callback"),
        path("password/reset/", account_mail.reset, name="reset-password"),
        path("password/reset/confirm/", account_mail.new_password, name="new-password"),
        path("email/", account_mail.email, name="email"),
        path("email/confirm/", account_mail.confirm_email, name="confirm-email"),
    ]

if project.has_staff_pages():
    urlpatterns.append(path("staff/", include("taskyard.web.staff.urls")))
