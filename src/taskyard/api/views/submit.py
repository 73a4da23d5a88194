"""Views that submit one task or many."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from django.urls import get_script_prefix, reverse
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from taskyard.accounts.claims import LazyUser
from taskyard.accounts.scopes import Scope
from taskyard.api import idempotency, intake, schemas
from taskyard.api.json import BULK_LIMIT, declared_size
from taskyard.api.openapi import IDEMPOTENCY, LOCATION, PREFER, documented, preference_applied
from taskyard.api.prefer_wait import waits_after
from taskyard.api.scopes import check_types
from taskyard.api.serialize import serialize_task
from taskyard.api.views.base import AUTHENTICATION, PERMISSIONS, ApiView, subject_of, user_of
from taskyard.core import lifecycle
from taskyard.core.errors import Unproven
from taskyard.core.models import Task
from taskyard.core.types import NewTask


def _without_lookup(authentication: Any) -> Any:
    """The class that authenticates like this one without a query, if it names one itself."""
    return vars(authentication).get("without_lookup", authentication)


@waits_after("POST")
class TaskCreate(ApiView):
    scopes = {"POST": Scope.TASKS_SUBMIT}
    # Permissions of a host project need the user.
    authentication_classes = (
        tuple(map(_without_lookup, AUTHENTICATION))
        if (IsAuthenticated,) == PERMISSIONS
        else AUTHENTICATION
    )

    @documented(
        "Submit a task",
        schemas.TaskCreate,
        {201: schemas.TaskAnswer},
        (400, 409, 422, 429, 507),
        parameters=[*IDEMPOTENCY, PREFER, LOCATION, preference_applied(201)],
    )
    def post(self, request: Request) -> Response:
        """Accepts a task and takes a place of the user's quota. `input_data` must fit the task
        type. All that is wrong is reported at once."""
        key = idempotency.key_of(request)
        new = intake.parse_task(request.data)
        check_types(request, [(("task_type",), new.task_type)])
        if key is None:
            return created(request, submit(request, new))
        (task_id,), replayed = idempotency.submit_once(
            user_of(request).pk, key, request.data, [new], endpoint="create"
        )
        task = idempotency.task_of(user_of(request).pk, task_id)
        return created(request, task, idempotency.REPLAYED if replayed else None)


class TaskBulk(ApiView):
    body_limit = BULK_LIMIT
    scopes = {"POST": Scope.TASKS_SUBMIT}

    @documented(
        "Submit many tasks",
        schemas.Bulk,
        {201: schemas.BulkAnswer},
        (400, 422, 429, 507),
        parameters=IDEMPOTENCY,
    )
    def post(self, request: Request) -> Response:
        """Accepts all of the tasks, or none of them. Each takes a place of the user's quota. An
        error names the index of its task."""
        key = idempotency.key_of(request)
        new = intake.parse_tasks(request.data, size=declared_size(request))
        check_types(
            request,
            ((("tasks", index, "task_type"), task.task_type) for index, task in enumerate(new)),
        )
        replayed = False
        if key is None:
            ids = lifecycle.submit_all(user_of(request).pk, new)
        else:
            ids, replayed = idempotency.submit_once(
                user_of(request).pk, key, request.data, new, endpoint="bulk"
            )
        headers = idempotency.REPLAYED if replayed else None
        return Response({"count": len(ids), "ids": ids}, 201, headers=headers)


def submit(request: Request, new: NewTask) -> Task:
    """Submit a task for the user. The INSERT itself verifies a token or key that was only read."""
    user: Any = request.user
    if type(user) is not LazyUser:
        return lifecycle.submit(user.pk, new)
    try:
        return lifecycle.submit(user.claim.user_id, new, proof=user.claim.proof)
    except Unproven:
        return lifecycle.submit(user.verified.pk, new)


def created(request: Request, task: Task, headers: Mapping[str, str] | None = None) -> Response:
    """The 201 response with a task and its Location."""
    site = f"{request.scheme}://{request.get_host()}"
    match = request.resolver_match
    tasks_path = _tasks_path(get_script_prefix(), match.namespace if match else "taskyard_api")
    location = f"{site}{tasks_path}/{task.pk}/"
    body = serialize_task(task, subject_of(request))
    return Response(body, 201, headers={"Location": location, **(headers or {})})


@cache
def _tasks_path(script_prefix: str, namespace: str) -> str:
    return reverse(f"{namespace}:task", args=[0]).removesuffix("/0")
