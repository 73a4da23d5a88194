"""The audit log in words: the texts of actions, roles and details."""

from typing import Any

from django.utils.translation import gettext_lazy as _

from taskyard.core.models import AuditEntry
from taskyard.web.staff.templatetags.taskyard_staff import many

ACTIONS = {
    "pause_queue": _("paused the queue"),
    "resume_queue": _("resumed the queue"),
    "cancel_tasks": _("asked to cancel tasks"),
    "retry_tasks": _("asked to retry tasks"),
    "delete_task": _("deleted the task"),
    "delete_file": _("deleted the file"),
    "change_limit": _("changed the limit of"),
    "change_weight": _("changed the weight of"),
    "create_service_account": _("made the service account"),
    "suspend_user": _("suspended"),
    "restore_user": _("restored"),
    "create_key": _("made the API key"),
    "revoke_key": _("revoked the API key"),
    "sso_registered": _("came by single sign-on as"),
    "change_role": _("changed the role of"),
    "set_password": _("set the password of"),
    "register": _("registered"),
    "log_in": _("signed in"),
    "log_in_failed": _("failed to sign in"),
    "change_password": _("changed the own password"),
    "share_task": _("made a link to the task"),
    "reset_password": _("reset the own password by mail"),
    "make_invitation": _("made the invitation"),
    "revoke_invitation": _("revoked the invitation"),
}

ROLES = {
    "owner": _("user"),
    "viewer": _("viewer"),
    "operator": _("operator"),
    "superuser": _("superuser"),
}


def details(entry: AuditEntry) -> str:
    """The details of an entry that the page shows; "" if there are none."""
    given = entry.details
    if "before" in given:
        before, after = (_value(given.get(name)) for name in ("before", "after"))
        return f"{before} → {after}"
    if "left_out" in given:
        return str(_("and %(count)s more before")) % {"count": given["left_out"]}
    more = "> " if given.get("more") else ""
    return f"{more}{many(given.get('count'))}"


def _value(value: Any) -> str:
    if value is None:
        return "–"
    return str(ROLES.get(value, value)) if isinstance(value, str) else str(value)
