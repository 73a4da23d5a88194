"""Cancelling and retrying all tasks that match: the number first, then the deed."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages as notes
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from taskyard.core import audit
from taskyard.core import bulk as many
from taskyard.core.querysets import TaskQuerySet
from taskyard.web.staff import search
from taskyard.web.staff.decorators import staff_only
from taskyard.web.view_helpers import user_of

# More are done all the same, but not counted beforehand.
MOST_COUNTED = 100_000
# Of the five that an answer may take. What is left is done when the person says so again.
SECONDS = 2.5

to_confirm = staff_only("GET", "HEAD", "POST")


@to_confirm
def cancel(request: HttpRequest) -> HttpResponse:
    return _bulk(request, "cancel")


@to_confirm
def retry(request: HttpRequest) -> HttpResponse:
    return _bulk(request, "retry")


def _bulk(request: HttpRequest, verb: str) -> HttpResponse:
    acting = request.method == "POST"
    form = search.SearchForm(request.POST if acting else request.GET)
    # Tasks that come or fail after the number was shown are not meant.
    until = _moment(request.POST.get("until", "")) if acting else timezone.now()
    if not form.is_valid() or until is None:
        context = {"page": "staff-tasks", "form": form, "verb": verb}
        return render(request, "web/staff/bulk.html", context, status=400)
    asked = form.asked()
    if acting:
        return _act(request, verb, asked, until)
    context = {
        "page": "staff-tasks",
        "form": form,
        "verb": verb,
        "asked": [(form[name].label, _shown(form, name)) for name in asked],
        "fields": list(asked.items()),
        "until": until.isoformat(),
        **_counted(_meant(verb, asked, until)),
    }
    return render(request, "web/staff/bulk.html", context)


def _act(request: HttpRequest, verb: str, asked: dict[str, Any], until: datetime) -> HttpResponse:
    by_id = user_of(request).pk
    meant = _meant(verb, asked, until)
    asked_for = _counted(meant)
    if asked_for["count"]:
        # First, for the deed is many transactions, and the last of them may not come.
        target = ", ".join(f"{name}={value}" for name, value in asked.items())
        audit.record(by_id, f"{verb}_tasks", target, search=asked, **asked_for)
    if verb == "cancel":
        done = many.cancel(meant, by_id=by_id, seconds=SECONDS)
        said = _("Cancelled, or asked to stop: %(done)s.")
    else:
        done = many.retry(meant, seconds=SECONDS)
        said = _("Submitted again: %(done)s.")
    notes.success(request, said % {"done": done})
    left = _counted(meant)
    if not left["count"]:
        return redirect("staff-tasks")
    if verb == "retry" and not done:
        notes.warning(
            request, _("The owners of the remaining tasks have reached their limits, or are busy.")
        )
    return redirect(f"{request.path}?{urlencode(asked)}")


def _meant(verb: str, asked: dict[str, Any], until: datetime) -> TaskQuerySet:
    tasks = search.matching(asked)
    if verb == "cancel":
        return many.cancellable(tasks).filter(created_at__lte=until)
    return many.retryable(tasks).filter(finished_at__lte=until)


def _counted(tasks: TaskQuerySet) -> dict[str, Any]:
    count = tasks.order_by()[: MOST_COUNTED + 1].count()
    return {"count": min(count, MOST_COUNTED), "more": count > MOST_COUNTED}


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _shown(form: search.SearchForm, name: str) -> Any:
    if name == "status":
        return dict(form.fields[name].choices)[form.cleaned_data[name]]  # type: ignore[attr-defined]
    return form.cleaned_data[name]
