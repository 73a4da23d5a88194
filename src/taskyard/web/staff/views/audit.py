"""The audit log: the deeds of staff, log-ins and changes of accounts; its export."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django import forms
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.translation import gettext_lazy as _

from taskyard.core import audit as core_audit
from taskyard.core import roles
from taskyard.web.staff import audit_texts
from taskyard.web.staff.decorators import operator_view, page_start, staff_view
from taskyard.web.view_helpers import render, user_of

PAGE_SIZE = 100
JSON_LINES = "application/x-ndjson"


class TimeField(forms.CharField):
    """A time in ISO 8601, in UTC unless it says otherwise, in any project."""

    def clean(self, value: Any) -> Any:
        text: str = super().clean(value)
        if not text:
            return None
        try:
            return core_audit.parse_time(text)
        except ValueError:
            message = _("Enter a date, or a date and a time, like 2026-11-28 12:00.")
            raise forms.ValidationError(message, code="invalid") from None


class SearchForm(forms.Form):
    """The search form; all fields are optional."""

    who = forms.CharField(label=_("Who"), required=False, max_length=core_audit.LONGEST_NAME)
    action = forms.ChoiceField(label=_("What"), required=False)
    since = TimeField(label=_("From, UTC"), required=False, max_length=40)
    until = TimeField(label=_("Before, UTC"), required=False, max_length=40)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.use_required_attribute = False
        choices = [("", _("any")), *audit_texts.ACTIONS.items()]
        self.fields["action"].choices = choices  # type: ignore[attr-defined]

    def search(self) -> core_audit.Search:
        """What a valid form asks for."""
        given = self.cleaned_data
        return core_audit.Search(
            by_name=given["who"],
            action=given["action"],
            since=given["since"],
            until=given["until"],
        )


@staff_view
def audit(request: HttpRequest) -> HttpResponse:
    form = SearchForm(request.GET or None)
    is_invalid = form.is_bound and not form.is_valid()
    search = form.search() if form.is_bound and not is_invalid else core_audit.Search()
    before = page_start(request)
    page = [] if is_invalid else core_audit.latest(search, before_id=before, at_most=PAGE_SIZE + 1)
    query = request.GET.copy()
    query.pop("before", None)
    for name in [name for name, value in query.items() if not value]:
        del query[name]
    context = {
        "page": "staff-audit",
        "form": form,
        "is_invalid": is_invalid,
        "lines": [
            (entry, audit_texts.ACTIONS.get(entry.action, entry.action), audit_texts.details(entry))
            for entry in page[:PAGE_SIZE]
        ],
        "older": page[PAGE_SIZE - 1].pk if len(page) > PAGE_SIZE else None,
        "is_continued": before is not None,
        "query": query.urlencode(),
        "sees_addresses": roles.sees_data(user_of(request)),
    }
    status = 400 if is_invalid else 200
    return render(request, "taskyard/web/staff/audit.html", context, status=status)


@operator_view
def export(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """The entries that match as a download of JSON lines, in bounded memory."""
    form = SearchForm(request.GET)
    if not form.is_valid():
        context = {"page": "staff-audit", "form": form, "is_invalid": True}
        return render(request, "taskyard/web/staff/audit.html", context, status=400)
    headers = {"Content-Disposition": 'attachment; filename="taskyard-audit.jsonl"'}
    if request.method == "HEAD":
        return HttpResponse(content_type=JSON_LINES, headers=headers)
    lines = core_audit.export(form.search())
    # Django's own ASGI handler would collect a synchronous iterator before it sends anything.
    pieces = _in_threads(lines) if isinstance(request, ASGIRequest) else lines
    return StreamingHttpResponse(pieces, content_type=JSON_LINES, headers=headers)


async def _in_threads(lines: Iterator[bytes]) -> AsyncIterator[bytes]:
    while piece := await sync_to_async(_next)(lines):
        yield piece


def _next(lines: Iterator[bytes]) -> bytes:
    """The next piece; empty at the end, because no coroutine can raise StopIteration."""
    return next(lines, b"")
