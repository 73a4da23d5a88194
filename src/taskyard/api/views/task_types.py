"""Views of the task types."""

from typing import Any

from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from taskyard.api import schemas
from taskyard.api.openapi import documented
from taskyard.api.scopes import ANY
from taskyard.api.views.base import ApiView
from taskyard.catalog.task_type import TaskType, UnknownTaskType, registry
from taskyard.core import messages


class TaskTypes(ApiView):
    scopes = {"GET": ANY}

    @documented(
        "List the task types", None, {200: schemas.TaskTypesAnswer}, operation_id="task_types_list"
    )
    def get(self, request: Request) -> Response:
        """Lists what can be run, with the JSON Schema of each input and result."""
        return Response([_serialize(task_type) for task_type in registry.public()])


class TaskTypeDetail(ApiView):
    scopes = {"GET": ANY}

    @documented("Show a task type", None, {200: schemas.TaskTypeAnswer}, (404,))
    def get(self, request: Request, name: str) -> Response:
        """Shows one task type, with the JSON Schema of its input and result."""
        try:
            return Response(_serialize(registry.get_public(name)))
        except UnknownTaskType:
            raise NotFound from None


def _serialize(task_type: TaskType) -> dict[str, Any]:
    return {
        "name": task_type.name,
        "label": messages.of_type(task_type, task_type.label),
        "description": messages.of_type(task_type, task_type.description),
        "queue": task_type.queue,
        "priority": task_type.priority,
        "max_attempts": task_type.max_attempts,
        "timeout": task_type.timeout,
        "input_schema": task_type.input_schema,
        "result_schema": task_type.result_schema,
    }
