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
    path("audit/export/", audit.export, name="staff-audit-export"),
]

if project.has_files():
    from taskyard.web.staff.views import files

    urlpatterns += [
        path("files/", files.files, name="staff-files"),
        path("files/<int:file_id>/delete/", files.delete, name="staff-delete-file"),
    ]

if project.has_accounts():
    from taskyard.web.staff.views import invitations, roles, service_accounts, suspension

    ACCOUNT = "service-accounts/<int:account_id>"
    urlpatterns += [
        path("users/<path:user_id>/role/", roles.change, name="staff-role"),
        path("service-accounts/", service_accounts.accounts, name="staff-service-accounts"),
        path("service-accounts/make/", service_accounts.make, name="staff-make-service-account"),
        path(f"{ACCOUNT}/", service_accounts.account, name="staff-service-account"),
        path(f"{ACCOUNT}/keys/", service_accounts.make_key, name="staff-make-service-key"),
        path(
            f"{ACCOUNT}/keys/<int:key_id>/revoke/",
            service_accounts.revoke_key,
            name="staff-revoke-service-key",
        ),
        path("invitations/", invitations.invitations, name="staff-invitations"),
        path("invitations/make/", invitations.make, name="staff-invite"),
        path(
            "invitations/<int:invitation_id>/revoke/",
            invitations.revoke,
            name="staff-revoke-invitation",
        ),
        path("users/<path:user_id>/suspend/", suspension.suspend, name="staff-suspend"),
        path("users/<path:user_id>/restore/", suspension.restore, name="staff-restore"),
    ]
