"""The bytes of the files that a link shows."""

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from rest_framework.exceptions import NotFound
from rest_framework.request import Request

from taskyard.api import conditions, openapi
from taskyard.api.openapi import documented
from taskyard.api.views.files import FileView
from taskyard.api.views.share import SharedView, share_of
from taskyard.core.types import LARGEST_ID
from taskyard.files import records, serving, storage
from taskyard.files.content import OCTETS
from taskyard.files.errors import FileMissing
from taskyard.files.models import StoredFile
from taskyard.live import downloads


@downloads.sends_files
class SharedFileContent(SharedView, FileView):
    @documented(
        "Download a file of a shared task",
        None,
        {200: OpenApiTypes.BINARY, 206: OpenApiTypes.BINARY, 304: None},
        (404, 410, 412, 416),
        parameters=[
            openapi.RANGE,
            openapi.IF_RANGE,
            openapi.IF_NONE_MATCH,
            openapi.FILE_ETAG,
        ],
        operation_id="shared_file",
        media_type=OCTETS,
    )
    def get(self, request: Request, file_id: str) -> HttpResponseBase:
        """For the token of a link with files: a file that the task has saved, always as an
        attachment. `Range`, `If-Range` and `If-None-Match` work."""
        file = _shared_file(request, file_id)
        response, part = serving.respond(request._request, file)
        if response.status_code == conditions.PRECONDITION_FAILED:
            raise conditions.PreconditionFailed
        if part is None:
            return response
        try:
            stream = storage.read(file.key)
        except FileNotFoundError:
            raise FileMissing(name=file.name) from None
        stream.seek(part.start)
        return downloads.send(request._request, response, stream, part.size)


def _shared_file(request: Request, file_id: str) -> StoredFile:
    """The file, if the link shows the files of its task. Raises NotFound."""
    share = share_of(request)
    file = None
    if share.files and int(file_id) <= LARGEST_ID:
        file = records.saved_by(share.task).filter(pk=int(file_id)).first()
    if file is None:
        raise NotFound
    return file
