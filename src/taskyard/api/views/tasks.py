"""Submitting, listing and showing tasks."""

import hashlib
from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.cache import get_conditional_response
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from taskyard.api import listing, shapes
from taskyard.api.json import MEDIA_TYPE, dumps
from taskyard.api.openapi import documented, parameters_of
from taskyard.api.representation import represent
from taskyard.api.views.base import ApiView, user_of
from taskyard.catalog.schema import Flaw, InvalidInput
from taskyard.catalog.task_type import TaskType, UnknownTaskType, registry
from taskyard.core import lifecycle
from taskyard.core.models import Task
from taskyard.core.states import Priority


class TaskCreate(ApiView):
    @documented("Submit a task", shapes.TaskCreate, {201: shapes.TaskAnswer}, (400,))
    def post(self, request: Request) -> Response:
        task = lifecycle.submit(user_of(request).pk, new_task(request.data))
        location = request.build_absolute_uri(reverse("api:task", args=[task.pk]) + "/")
        return Response(represent(task), 201, headers={"Location": location})


class Tasks(TaskCreate):
    @documented(
        "List the own tasks",
        None,
        {200: shapes.TaskPage},
        (400, 404),
        parameters=parameters_of(listing.TaskQuery),
        operation_id="tasks_list",
    )
    def get(self, request: Request) -> Response:
        return Response(listing.task_list(request, user_of(request).pk))


class TaskDetail(ApiView):
    @documented("Show a task", None, {200: shapes.TaskAnswer, 304: None}, (404,))
    def get(self, request: Request, task_id: str) -> HttpResponseBase:
        """`ETag` and `If-None-Match` make asking again cheap."""
        body = dumps(represent(own_task(request, task_id)))
        # Weak: an equal task, however the bytes travel. The labels make it one language's.
        etag = f'W/"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
        response = HttpResponse(body, MEDIA_TYPE, headers={"ETag": etag})
        return get_conditional_response(request._request, etag=etag, response=response) or response


def own_task(request: Request, task_id: str) -> Task:
    """The user's task of this id; raises NotFound alike for another's and for none."""
    found: Task | None = None
    if int(task_id) <= shapes.LARGEST_ID:
        found = Task.objects.visible_to(user_of(request).pk).filter(pk=int(task_id)).first()
    if found is None:
        raise NotFound
    return found


def new_task(data: Any) -> lifecycle.NewTask:
    """A task as it is asked for in a body; raises InvalidInput."""
    asked = shapes.read(shapes.TaskCreate, data)
    task_type = _task_type(asked.task_type)
    try:
        input_data = task_type.validate(asked.input_data)
    except InvalidInput as error:
        raise InvalidInput(
            Flaw(("input_data", *flaw.path), flaw.code, flaw.message, flaw.context)
            for flaw in error.flaws
        ) from None
    return lifecycle.NewTask(
        task_type=task_type.name,
        queue=task_type.queue,
        input_data=input_data,
        priority=Priority[(asked.priority or task_type.priority).upper()],
        max_attempts=asked.max_attempts or task_type.max_attempts,
        timeout_seconds=task_type.timeout if asked.timeout is None else asked.timeout,
        tags=tuple(dict.fromkeys(asked.tags)),
        run_at=asked.due(),
    )


def _task_type(name: str) -> TaskType:
    try:
        return registry.get(name)
    except UnknownTaskType:
        message = "There is no such task type."
        raise InvalidInput([Flaw(("task_type",), "unknown_task_type", message)]) from None
