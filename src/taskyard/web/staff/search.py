"""Search all tasks: the form, the query, and pages whose cost does not grow with their depth."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.db.models import F, Q
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from taskyard.core import roles
from taskyard.core.models import Task
from taskyard.core.querysets import TaskQuerySet
from taskyard.core.search import Criteria
from taskyard.core.states import ACTIVE, Status
from taskyard.core.types import LARGEST_ID
from taskyard.web.staff import people

PAGE_SIZE = 50
# A page reads this many tasks at most, even if few match, and then offers to search further.
SEARCH_LIMIT = 50_000


class SearchForm(forms.Form):
    """The search form; all fields are optional."""

    id = forms.IntegerField(label=_("Id"), required=False, min_value=1, max_value=LARGEST_ID)
    owner = forms.CharField(label=_("Owner"), required=False, max_length=people.LONGEST_NAME)
    task_type = forms.CharField(label=_("Type"), required=False, max_length=200)
    status = forms.ChoiceField(
        label=_("Status"), required=False, choices=[("", _("any")), *Status.choices]
    )
    queue = forms.CharField(label=_("Queue"), required=False, max_length=50)
    tag = forms.CharField(label=_("Tag"), required=False, max_length=50, strip=False)
    error_code = forms.CharField(label=_("Error code"), required=False, max_length=100)
    exception = forms.CharField(label=_("Exception"), required=False, max_length=200)
    location = forms.CharField(label=_("Location in the code"), required=False, max_length=300)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.use_required_attribute = False

    def criteria(self) -> dict[str, Any]:
        """The fields that are filled in, of a valid form."""
        return {name: value for name, value in self.cleaned_data.items() if value not in ("", None)}


class BlindSearchForm(SearchForm):
    """The form of a viewer who does not see errors: one cannot try out what a message says."""

    exception = forms.RegexField(
        r"\A[^\W\d][\w.]*\Z", label=_("Exception"), required=False, max_length=200
    )

    field_order = tuple(SearchForm.base_fields)


def form_for(user: Any, query: QueryDict) -> SearchForm:
    """The form with what a member of staff asks; unbound without a question."""
    form = SearchForm if roles.sees_data(user) else BlindSearchForm
    return form(query or None)


def filter_tasks(criteria: dict[str, Any]) -> TaskQuerySet:
    """The tasks that match all criteria."""
    common = Criteria(
        statuses=[criteria["status"]] if "status" in criteria else (),
        **{
            name: criteria[name]
            for name in ("task_type", "queue", "tag", "error_code")
            if name in criteria
        },
    )
    tasks = common.filter(Task.objects.all())
    if "id" in criteria:
        tasks = tasks.filter(id=criteria["id"])
    if "owner" in criteria:
        owner = people.by_name(criteria["owner"])
        tasks = tasks.none() if owner is None else tasks.owned_by(owner.pk)
    if "exception" in criteria:
        name = criteria["exception"]
        # Match the beginning of the message, since tracebacks are deleted earlier.
        tasks = tasks.filter(Q(error_message=name) | Q(error_message__startswith=f"{name}:"))
        tasks = tasks.filter(error_code="exception")
    if "location" in criteria:
        # Only the traceback of the last attempt counts.
        location = criteria["location"]
        tasks = tasks.filter(tracebacks__location=location, tracebacks__fence=F("fence"))
    return tasks


@dataclass(frozen=True)
class Page:
    """A page of results. ``older`` is the ``before`` of the next page.

    ``searched_to`` is set if the search stopped before the oldest task.
    """

    tasks: list[Task]
    older: int | None
    searched_to: int | None


def page(criteria: dict[str, Any], *, before: int | None) -> Page:
    """The next tasks that match, newest first."""
    tasks = filter_tasks(criteria)
    if before is not None:
        tasks = tasks.filter(id__lt=before)
    floor = _search_floor(criteria, before)
    if floor is not None:
        tasks = tasks.filter(id__gt=floor)
    tasks = tasks.select_related("owner").defer("input_data", "result", "checkpoint")
    rows = list(tasks.order_by("-id")[: PAGE_SIZE + 1])
    if len(rows) > PAGE_SIZE:
        return Page(rows[:PAGE_SIZE], rows[PAGE_SIZE - 1].pk, None)
    return Page(rows, None if floor is None else floor + 1, floor)


def _search_floor(criteria: dict[str, Any], before: int | None) -> int | None:
    """The id at which the search of this page stops; None if it is fast without a limit."""
    if "id" in criteria or criteria.get("status") in ACTIVE:
        return None
    # Count along the index that the search uses.
    base = filter_tasks({"owner": criteria["owner"]} if "owner" in criteria else {})
    if before is not None:
        base = base.filter(id__lt=before)
    ids = base.order_by("-id").values_list("id", flat=True)
    return ids[SEARCH_LIMIT : SEARCH_LIMIT + 1].first()
