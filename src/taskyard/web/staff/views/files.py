"""What the storage holds, and whose; the files of a user; delete a file."""

from typing import Any

from django.contrib.auth import get_user_model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from taskyard.core import messages, roles
from taskyard.core.conf import conf
from taskyard.core.types import LARGEST_ID
from taskyard.files import removal, stats, usage
from taskyard.files.errors import FileInUse
from taskyard.files.models import State, StoredFile
from taskyard.web import file_list, notes
from taskyard.web.staff import people
from taskyard.web.staff.decorators import page_start, staff_action, staff_view
from taskyard.web.view_helpers import next_url, render, user_of

MOST_OWNERS = 50


@staff_view
def files(request: HttpRequest) -> HttpResponse:
    """The storage; or the files of the user in ``owner``, "" for those without an owner."""
    if "owner" in request.GET:
        return _of_owner(request, request.GET["owner"][: people.LONGEST_NAME])
    largest = list(stats.largest()[:MOST_OWNERS])
    users = get_user_model()._default_manager.in_bulk([each.user_id for each in largest])
    counts = stats.counts(users)
    context = {
        "page": "staff-files",
        "total": stats.total(),
        "unfinished": stats.unfinished(),
        "waiting": stats.waiting_for_deletion(),
        "without_owner": stats.without_owner(),
        "limit": conf().FILES_PER_USER,
        "rows": [
            {"user": users[each.user_id], "bytes": each.bytes, "count": counts.get(each.user_id)}
            for each in largest
            if each.user_id in users
        ],
    }
    return render(request, "taskyard/web/staff/files.html", context)


@staff_action
def delete(request: HttpRequest, file_id: int) -> HttpResponse:
    kept = StoredFile.objects.exclude(state=State.DELETING)
    file = kept.filter(pk=file_id).first() if file_id <= LARGEST_ID else None
    if file is None:
        raise Http404
    try:
        removal.delete(file, by_id=user_of(request).pk)
        notes.success(request, _("Deleted: %(done)s.") % {"done": file.name})
    except FileInUse as error:
        notes.error(request, messages.of(error.code, error.code, error.params))
    return HttpResponseRedirect(next_url(request, default="taskyard_web:staff-files"))


def _of_owner(request: HttpRequest, name: str) -> HttpResponse:
    owner: Any = people.by_name(name) if name else None
    if name and owner is None:
        raise Http404
    before = page_start(request)
    context = {
        "page": "staff-files",
        "owner": owner,
        "used": usage.of(owner.pk) if owner else stats.without_owner().bytes,
        "limit": conf().FILES_PER_USER,
        "list": file_list.page(file_list.of_user(owner and owner.pk), before=before),
        "is_continued": before is not None,
        "sees_data": roles.sees_data(user_of(request)),
    }
    return render(request, "taskyard/web/staff/user_files.html", context)
