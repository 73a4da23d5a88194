"""Searching all tasks: what can be asked, and pages that cost the same at any depth."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from taskyard.accounts.models import User
from taskyard.accounts.usernames import LONGEST as LONGEST_NAME
from taskyard.accounts.usernames import name_key
from taskyard.core.models import Task
from taskyard.core.querysets import TaskQuerySet
from taskyard.core.search import Criteria
from taskyard.core.states import ACTIVE, Status
from taskyard.web.staff.decorators import LARGEST_ID

PAGE = 50
# A page looks at so many tasks at most, however few match, and then says how far it has come.
LOOK = 50_000


class SearchForm(forms.Form):
    """What a search asks for; every field may be left empty."""

    id = forms.IntegerField(label=_("Id"), required=False, min_value=1, max_value=LARGEST_ID)
    owner = forms.CharField(label=_("Owner"), required=False, max_length=LONGEST_NAME)
    task_type = forms.CharField(label=_("Type"), required=False, max_length=50)
    status = forms.ChoiceField(
        label=_("Status"), required=False, choices=[("", _("any")), *Status.choices]
    )
    queue = forms.CharField(label=_("Queue"), required=False, max_length=50)
    tag = forms.CharField(label=_("Tag"), required=False, max_length=50, strip=False)
    error_code = forms.CharField(label=_("Error code"), required=False, max_length=100)
    exception = forms.CharField(label=_("Exception"), required=False, max_length=200)
    location = forms.CharField(label=_("Place in the code"), required=False, max_length=300)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.use_required_attribute = False

    def asked(self) -> dict[str, Any]:
        """What a valid form asks for, without what it leaves open."""
        return {name: value for name, value in self.cleaned_data.items() if value not in ("", None)}


def matching(asked: dict[str, Any]) -> TaskQuerySet:
    """The tasks that a search asks for."""
    criteria = Criteria(
        statuses=[asked["status"]] if "status" in asked else (),
        **{
            name: asked[name]
            for name in ("task_type", "queue", "tag", "error_code")
            if name in asked
        },
    )
    tasks = criteria.filter(Task.objects.all())
    if "id" in asked:
        tasks = tasks.filter(id=asked["id"])
    if "owner" in asked:
        owner = User.objects.filter(username_key=name_key(asked["owner"])).first()
        tasks = tasks.none() if owner is None else tasks.owned_by(owner.pk)
    if "exception" in asked:
        name = asked["exception"]
        # As the message begins, which it does whether or not the traceback is still there.
        tasks = tasks.filter(Q(error_message=name) | Q(error_message__startswith=f"{name}:"))
        tasks = tasks.filter(error_code="exception")
    if "location" in asked:
        # Of the last attempt.
        place = {"tracebacks__location": asked["location"], "tracebacks__fence": F("fence")}
        tasks = tasks.filter(**place)
    return tasks


@dataclass(frozen=True)
class Page:
    """``older`` is where to go on; ``looked_to`` is set where the page stopped to look there."""

    tasks: list[Task]
    older: int | None
    looked_to: int | None


def page(asked: dict[str, Any], *, before: int | None) -> Page:
    """The next tasks that match, the newest first."""
    tasks = matching(asked)
    if before is not None:
        tasks = tasks.filter(id__lt=before)
    floor = _floor(asked, before)
    if floor is not None:
        tasks = tasks.filter(id__gt=floor)
    tasks = tasks.select_related("owner").defer("input_data", "result", "checkpoint")
    found = list(tasks.order_by("-id")[: PAGE + 1])
    if len(found) > PAGE:
        return Page(found[:PAGE], found[PAGE - 1].pk, None)
    return Page(found, None if floor is None else floor + 1, floor)


def _floor(asked: dict[str, Any], before: int | None) -> int | None:
    """The id behind which this page does not look; None where all there is can be looked at."""
    if "id" in asked or asked.get("status") in ACTIVE:
        return None
    # Counted along the index by which the page is found.
    base = matching({"owner": asked["owner"]} if "owner" in asked else {})
    if before is not None:
        base = base.filter(id__lt=before)
    ids = base.order_by("-id").values_list("id", flat=True)
    return ids[LOOK : LOOK + 1].first()
