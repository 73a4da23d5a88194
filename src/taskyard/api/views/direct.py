"""Views of uploads that go to S3 past the web."""

from rest_framework.request import Request
from rest_framework.response import Response

from taskyard.api import schemas
from taskyard.api.intake import parse
from taskyard.api.openapi import documented
from taskyard.api.serialize import serialize_file
from taskyard.api.views.base import user_of
from taskyard.api.views.files import FileView, own_upload
from taskyard.files import direct


class Presign(FileView):
    @documented(
        "Begin an upload to S3",
        schemas.Presign,
        {201: schemas.PresignAnswer},
        (400, 409, 413, 507),
    )
    def post(self, request: Request) -> Response:
        """Answers with an address in S3 for each part. Only with `TASKYARD_FILES_DIRECT`."""
        body = parse(schemas.Presign, request.data)
        upload = direct.begin(user_of(request).pk, body.name, body.size)
        answer = {
            "id": upload.file.pk,
            "name": upload.file.name,
            "size": upload.file.size,
            "part_size": upload.part_size,
            "parts": [
                {"number": part.number, "url": part.url, "size": part.size} for part in upload.parts
            ],
        }
        return Response(answer, status=201)


class Complete(FileView):
    @documented(
        "Complete an upload to S3",
        schemas.CompleteUpload,
        {200: schemas.FileAnswer},
        (400, 404, 409, 410, 507),
    )
    def post(self, request: Request, file_id: str) -> Response:
        """Makes a file of the parts, and reads it once for its SHA-256. It can be repeated."""
        body = parse(schemas.CompleteUpload, request.data)
        etags = (
            None
            if body.parts is None
            else {part.number: part.etag.strip('"') for part in body.parts}
        )
        file = direct.complete(own_upload(request, file_id), etags)
        return Response(serialize_file(file))
