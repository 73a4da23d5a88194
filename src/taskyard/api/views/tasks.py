"""Views of the own tasks: list, show, delete, cancel, retry, attempts and logs."""

from collections.abc import Iterator
from functools import partial

from django.http.response import HttpResponseBase
from django.utils import translation
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from taskyard.accounts.claims import KeyClaims
from taskyard.accounts.errors import OnBehalfRefused
from taskyard.accounts.scopes import Scope
from taskyard.api import (
    conditions,
    idempotency,
    intake,
    listing,
    openapi,
    pagination,
    schemas,
    selection,
)
from taskyard.api.history import serialize_attempt, serialize_line
from taskyard.api.json import dumps
from taskyard.api.openapi import documented, parameters_of
from taskyard.api.prefer_wait import waits_after
from taskyard.api.scopes import check_types
from taskyard.api.serialize import serialize_task
from taskyard.api.views.base import ApiView, subject_of, user_of
from taskyard.api.views.submit import TaskCreate, created
from taskyard.catalog.schema import FieldError, InvalidInput
from taskyard.core import deletion, history, lifecycle
from taskyard.core.errors import StillActive
from taskyard.core.languages import LANGUAGES
from taskyard.core.models import Task
from taskyard.core.states import Status
from taskyard.core.types import LARGEST_ID, UserId


class Tasks(TaskCreate):
    scopes = {"GET": Scope.TASKS_READ, "POST": Scope.TASKS_SUBMIT}

    @documented(
        "List the own tasks",
        None,
        {200: schemas.TaskPage},
        (400, 404),
        parameters=parameters_of(listing.TaskQuery),
        operation_id="tasks_list",
    )
    def get(self, request: Request) -> Response:
        """Lists the user's tasks, by ascending id unless `ordering` says otherwise. Long inputs and
        results are left out and named in `omitted`."""
        return Response(listing.task_list(request, partial(owner_of_list, request)))


@waits_after("GET")
class TaskDetail(ApiView):
    scopes = {"GET": Scope.TASKS_READ, "DELETE": Scope.TASKS_CANCEL}

    @documented(
        "Show a task",
        None,
        {200: schemas.TaskAnswer, 304: None},
        (404,),
        parameters=[
            openapi.IF_NONE_MATCH,
            openapi.PREFER,
            openapi.ETAG,
            openapi.preference_applied(200),
        ],
    )
    def get(self, request: Request, task_id: str) -> HttpResponseBase:
        """Send the `ETag` of the last answer in `If-None-Match`, and an unchanged task is a 304
        without a body. With `Prefer: wait` the answer comes when the task has ended."""
        names = selection.parse_fields(request.query_params)
        task = own_task(request, task_id)
        subject = subject_of(request)
        whole = dumps(serialize_task(task, subject))
        if not names:
            return conditions.conditional_response(request, whole)
        return conditions.conditional_response(
            request, dumps(selection.serialize_fields(task, names, subject)), whole
        )

    @documented(
        "Delete a task", None, {204: None}, (400, 404, 409, 412), parameters=[openapi.IF_MATCH]
    )
    def delete(self, request: Request, task_id: str) -> Response:
        """Deletes a task that has ended, with its attempts and its log."""
        with conditions.precondition(request, partial(bodies, request, task_id)):
            try:
                deletion.delete(own_task(request, task_id))
            except StillActive:
                own_task(request, task_id)  # raises NotFound if it was deleted meanwhile
                raise
        return Response(status=204)


class TaskCancel(ApiView):
    scopes = {"POST": Scope.TASKS_CANCEL}

    @documented(
        "Cancel a task",
        None,
        {200: schemas.TaskAnswer, 202: schemas.TaskAnswer},
        (400, 404, 409, 412),
        parameters=[openapi.IF_MATCH],
    )
    def post(self, request: Request, task_id: str) -> Response:
        """200: the task is cancelled. 202: the task is running and has been asked to stop; if it
        completes first, it stays completed. 409: the task has already ended otherwise."""
        with conditions.precondition(request, partial(bodies, request, task_id)):
            try:
                task = lifecycle.cancel(own_task(request, task_id).pk, by_id=user_of(request).pk)
            except Task.DoesNotExist:
                raise NotFound from None
        body = serialize_task(task, subject_of(request))
        return Response(body, 200 if task.status == Status.CANCELLED else 202)


class TaskRetry(ApiView):
    scopes = {"POST": Scope.TASKS_SUBMIT}

    @documented(
        "Try a task again",
        None,
        {201: schemas.TaskAnswer},
        (400, 404, 409, 412, 422, 429, 507),
        parameters=[*openapi.IDEMPOTENCY, openapi.IF_MATCH, openapi.LOCATION],
    )
    def post(self, request: Request, task_id: str) -> Response:
        """Submits a new task with the same input and options; its `retry_of` is the id of the old
        one. Only for a task that ended in error or was cancelled."""
        key = idempotency.key_of(request)
        if key is None:
            return created(request, retried(request, task_id))
        # Inside, the old task is looked up only for a new key: a repetition is answered also if
        # the old task has been deleted.
        task, replayed = idempotency.retry_once(
            user_of(request).pk, key, task_id, lambda: retried(request, task_id)
        )
        return created(request, task, idempotency.REPLAYED if replayed else None)


class TaskAttempts(ApiView):
    scopes = {"GET": Scope.TASKS_READ}

    @documented(
        "Show the attempts of a task",
        None,
        {200: schemas.AttemptPage},
        (400, 404),
        parameters=parameters_of(pagination.HistoryQuery),
    )
    def get(self, request: Request, task_id: str) -> Response:
        """Lists the executions of a task in order. The last one may be running."""
        query = pagination.parse_query(pagination.HistoryQuery, request.query_params)
        attempts = history.attempts(own_task(request, task_id))
        return Response(
            pagination.serialize_page(
                request, pagination.page_by_offset(attempts, query), serialize_attempt
            )
        )


class TaskLogs(ApiView):
    scopes = {"GET": Scope.TASKS_READ}

    @documented(
        "Read what a task said",
        None,
        {200: schemas.LogPage},
        (400, 404),
        parameters=parameters_of(pagination.HistoryQuery),
    )
    def get(self, request: Request, task_id: str) -> Response:
        """Lists the lines of all attempts in order. `dropped` says how many lines are missing after
        one."""
        query = pagination.parse_query(pagination.HistoryQuery, request.query_params)
        lines = own_task(request, task_id).log_lines.order_by("id")
        return Response(
            pagination.serialize_page(
                request, pagination.page_by_offset(lines, query), serialize_line
            )
        )


def owner_of_list(request: Request, subject: str | None) -> tuple[UserId | None, str | None]:
    """The owner of the tasks that a list shows, by its filter ``subject``; and the subject.

    The owner's id is None for a subject that has not been made, so it has no tasks. Raises
    InvalidInput, OnBehalfRefused, SubjectInvalid, SubjectSuspended.
    """
    if subject is None:
        return user_of(request).pk, subject_of(request)
    if subject_of(request) not in (None, subject):
        message = "The header On-Behalf-Of names another subject."
        raise InvalidInput([FieldError(("subject",), "subject_and_header", message)])
    if type(request.auth) is not KeyClaims or request.auth.is_subject_token:
        raise OnBehalfRefused
    from taskyard.accounts import subjects

    user_id = user_of(request).pk
    if subject_of(request) is None:
        user_id = subjects.find_active(user_id, subject)
    return user_id, subject


def retried(request: Request, task_id: str) -> Task:
    """Retry an own task; the new task. Raises InvalidInput, NotFound, and as core does."""
    with conditions.precondition(request, partial(bodies, request, task_id)):
        task = own_task(request, task_id)
        check_types(request, [((), task.task_type)])
        intake.known_type(task.task_type)
        try:
            return lifecycle.retry(task)
        except Task.DoesNotExist:
            raise NotFound from None


def bodies(request: Request, task_id: str) -> Iterator[bytes]:
    """Lock an own task; the body of its GET in each language. Raises NotFound."""
    own = Task.objects.filter(id=own_task(request, task_id).pk).defer("checkpoint")
    for task in own.select_for_update(of=("self",)):
        for language in LANGUAGES:
            with translation.override(language):
                yield dumps(serialize_task(task, subject_of(request)))


def own_task(request: Request, task_id: str) -> Task:
    """The user's task of this id. Raises NotFound, also for a task of another user."""
    task: Task | None = None
    if int(task_id) <= LARGEST_ID:
        task = Task.objects.get_owned(user_of(request).pk, int(task_id))
    if task is None:
        raise NotFound
    return task
