"""Views of queues, for staff: list, pause and resume them."""

from typing import Any

from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from taskyard.api import schemas
from taskyard.api.openapi import documented
from taskyard.api.permissions import IsStaff
from taskyard.api.views.base import PERMISSIONS, ApiView, user_of
from taskyard.core import queues


class StaffView(ApiView):
    """Viewers may read it; other methods are for operators."""

    permission_classes = (*PERMISSIONS, IsStaff)


class Queues(StaffView):
    @documented(
        "List the queues", None, {200: schemas.QueuesAnswer}, (403,), operation_id="queues_list"
    )
    def get(self, request: Request) -> Response:
        """Lists every queue, with the number of tasks that wait, sleep and run. Only for staff."""
        return Response(list(queues.depths()))


class QueuePause(StaffView):
    @documented("Pause a queue", None, {200: schemas.QueueAnswer}, (403, 404))
    def post(self, request: Request, name: str) -> Response:
        """No task of the queue begins from now on; running tasks go on. Only for staff
        operators. A queue that is paused already is no error."""
        _get_queue(name)
        queues.pause(name, by_id=user_of(request).pk)
        return Response(_get_queue(name))


class QueueResume(StaffView):
    @documented("Resume a queue", None, {200: schemas.QueueAnswer}, (403, 404))
    def post(self, request: Request, name: str) -> Response:
        """Tasks of the queue begin again. Only for staff operators. A queue that runs already is
        no error."""
        _get_queue(name)
        queues.resume(name, by_id=user_of(request).pk)
        return Response(_get_queue(name))


def _get_queue(name: str) -> dict[str, Any]:
    """The queue of this name with its counts. Raises NotFound."""
    for queue in queues.depths():
        if queue["name"] == name:
            return queue
    raise NotFound
