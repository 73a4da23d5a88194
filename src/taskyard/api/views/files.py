"""Views of the own files: upload, list, show, download and delete."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.db.models import QuerySet
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from taskyard.accounts.scopes import Scope
from taskyard.api import conditions, errors, file_listing, openapi, schemas, upload_headers
from taskyard.api.json import MEDIA_TYPE, dumps
from taskyard.api.openapi import documented, header, parameters_of
from taskyard.api.serialize import serialize_file
from taskyard.api.upload_headers import HeaderInvalid, UploadHeaders
from taskyard.api.views.base import ApiView, user_of
from taskyard.core.conf import conf
from taskyard.core.types import LARGEST_ID
from taskyard.files import direct, form, records, removal, serving, storage, writing
from taskyard.files.content import OCTETS
from taskyard.files.errors import FileMissing, WrongOffset
from taskyard.files.models import State, StoredFile
from taskyard.files.receiving import Reception
from taskyard.files.writing import Writer
from taskyard.live import downloads, uploads

FORM = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
PARTIAL = "application/partial-upload"
UPLOAD_STATE = [
    header("Upload-Offset", int, "How many bytes have arrived", of=(204,)),
    header("Upload-Complete", str, "`?1`: the file is whole", of=(204,)),
    header("Upload-Length", int, "Bytes of the whole file", of=(204,)),
]


class FileView(ApiView):
    """A view in no transaction of the project's ATOMIC_REQUESTS.

    Rows are committed before bytes are written, and before bytes are deleted.
    """

    scopes = dict.fromkeys(("GET", "HEAD", "POST", "PATCH", "DELETE"), Scope.FILES)

    @classmethod
    def as_view(cls, **options: Any) -> Any:
        return non_atomic_requests(super().as_view(**options))


@uploads.takes_uploads("POST")
class Files(FileView):
    @documented(
        "List the own files",
        None,
        {200: schemas.FilePage},
        (400, 404),
        parameters=parameters_of(file_listing.FileQuery),
        operation_id="files_list",
    )
    def get(self, request: Request) -> Response:
        """Lists the files that the user has uploaded and those that the user's tasks have saved, by
        ascending id."""
        return Response(file_listing.file_list(request, user_of(request).pk))

    @documented(
        "Upload a file",
        None,
        {201: schemas.FileAnswer},
        (400, 413, 507),
        parameters=[
            openapi.NAME,
            openapi.REPR_DIGEST,
            openapi.UPLOAD_COMPLETE,
            openapi.UPLOAD_LENGTH,
            header("Location", str, "The address of the file, or of the upload", of=(201,)),
        ],
        body={OCTETS: OpenApiTypes.BINARY, "multipart/form-data": FORM},
    )
    def post(self, request: Request) -> HttpResponseBase:
        """The body is the file, or a form with one file. An unused file is deleted after a day."""
        asked = request._request
        headers = upload_headers.parse(asked)
        boundary = form.boundary_of(asked.META.get("CONTENT_TYPE", ""))
        name = request.query_params.get("name")
        resumable = headers.completes is False
        size = _size(asked, headers, has_form=boundary is not None)
        file = writing.begin(user_of(request).pk, name or "", size=size, resumable=resumable)
        writer = writing.first_writer(file, is_size_known=size is not None, resumable=resumable)
        receive = partial(_receive, request, file, writer, headers)
        return receive(resumable=resumable, boundary=boundary, keeps_name=name is not None)


class FileDetail(FileView):
    @documented("Show a file", None, {200: schemas.FileAnswer}, (404,))
    def get(self, request: Request, file_id: str) -> Response:
        """Shows what is known of a file; its bytes are at `content/`."""
        return Response(serialize_file(_own_file(request, file_id)))

    @documented("Delete a file", None, {204: None}, (404, 409))
    def delete(self, request: Request, file_id: str) -> Response:
        """Deletes a file and its bytes, unless a task that has not ended uses it."""
        removal.delete(_own_file(request, file_id))
        return Response(status=204)


@downloads.sends_files
class FileContent(FileView):
    @documented(
        "Download a file",
        None,
        {200: OpenApiTypes.BINARY, 206: OpenApiTypes.BINARY, 302: None, 304: None},
        (404, 410, 412, 416),
        parameters=[
            openapi.RANGE,
            openapi.IF_RANGE,
            openapi.IF_NONE_MATCH,
            openapi.FILE_ETAG,
        ],
        media_type=OCTETS,
    )
    def get(self, request: Request, file_id: str) -> HttpResponseBase:
        """Always an attachment. `Range`, `If-Range` and `If-None-Match` work; the `ETag` is the
        SHA-256 of the bytes. With `TASKYARD_FILES_DIRECT` a redirect to S3, for five minutes."""
        file = _own_file(request, file_id)
        response, part = serving.respond(request._request, file)
        if response.status_code == conditions.PRECONDITION_FAILED:
            raise conditions.PreconditionFailed
        if part is None:
            return response
        try:
            if redirect := _past_the_web(request, response, file):
                return redirect
            stream = storage.read(file.key)
        except FileNotFoundError:
            raise FileMissing(name=file.name) from None
        stream.seek(part.start)
        return downloads.send(request._request, response, stream, part.size)


@uploads.takes_uploads("PATCH")
class FileUpload(FileView):
    """An upload that can be resumed (draft-ietf-httpbis-resumable-upload)."""

    @documented("Ask how far an upload is", None, {204: None}, (404,), parameters=UPLOAD_STATE)
    def head(self, request: Request, file_id: str) -> Response:
        """`Upload-Offset` says where to go on."""
        return Response(status=204, headers=_upload_headers(own_upload(request, file_id)))

    @documented(
        "Go on with an upload",
        None,
        {200: schemas.FileAnswer, 204: None},
        (400, 404, 409, 410, 413, 507),
        parameters=[openapi.UPLOAD_COMPLETE, openapi.UPLOAD_OFFSET, openapi.REPR_DIGEST],
        body={PARTIAL: OpenApiTypes.BINARY},
    )
    def patch(self, request: Request, file_id: str) -> HttpResponseBase:
        """Appends bytes at `Upload-Offset`."""
        file = own_upload(request, file_id)
        headers = upload_headers.parse(request._request)
        is_empty = uploads.body_size(request._request) == 0
        if not is_empty and request._request.content_type != PARTIAL:
            raise HeaderInvalid("upload_type_invalid")
        if headers.completes is None or headers.offset is None:
            raise HeaderInvalid("upload_headers_invalid")
        if file.state != State.WRITING:
            if headers.offset != file.size:
                raise WrongOffset(offset=file.size)
            return Response(serialize_file(file), headers=_upload_headers(file))
        writer = writing.resume(file, headers.offset)
        return _receive(request, file, writer, headers, resumable=True)

    @documented("Cancel an upload", None, {204: None}, (404, 409))
    def delete(self, request: Request, file_id: str) -> Response:
        """Deletes what has arrived."""
        removal.delete(own_upload(request, file_id))
        return Response(status=204)


def _past_the_web(
    request: Request, response: HttpResponseBase, file: StoredFile
) -> HttpResponse | None:
    """A redirect to S3, if clients reach it; the address is for GET only."""
    if request.method != "GET":
        return None
    url = direct.download_url(
        file,
        disposition=response.headers["Content-Disposition"],
        content_type=response.headers["Content-Type"],
    )
    if url is None:
        return None
    return HttpResponse(status=302, headers={"Location": url, "Cache-Control": "no-store"})


def _receive(
    request: Request,
    file: StoredFile,
    writer: Writer,
    headers: UploadHeaders,
    *,
    resumable: bool,
    boundary: bytes | None = None,
    keeps_name: bool = False,
) -> HttpResponseBase:
    respond: Callable[[StoredFile], HttpResponse] = partial(_uploaded, request)
    reception = Reception(
        file,
        writer,
        respond=respond,
        refuse_with=lambda error: errors.plain_response(error, request._request),
        boundary=boundary,
        keeps_name=keeps_name,
        sha256=headers.sha256,
        resumable=resumable,
        completes=headers.completes is not False,
    )
    return uploads.receive(request._request, reception)


def _uploaded(request: Request, file: StoredFile) -> HttpResponse:
    """The response to an upload: the file, or how far it is."""
    is_whole = file.state != State.WRITING
    has_begun = request.method == "POST"
    headers = {}
    if not is_whole or not has_begun:
        headers = _upload_headers(file)
    if has_begun:
        headers["Location"] = _address(request, file, "file" if is_whole else "file_upload")
    if not is_whole and not has_begun:
        return HttpResponse(status=204, headers=headers)
    body = serialize_file(file) if is_whole else {"id": file.pk, "name": file.name}
    return HttpResponse(dumps(body), MEDIA_TYPE, status=201 if has_begun else 200, headers=headers)


def _upload_headers(file: StoredFile) -> dict[str, str]:
    is_whole = file.state != State.WRITING
    return {
        "Upload-Offset": str(file.size if is_whole else file.received),
        "Upload-Complete": "?1" if is_whole else "?0",
        "Upload-Length": str(file.size),
        "Upload-Limit": f"max-size={conf().FILE_LIMIT:d}",
        "Cache-Control": "no-store",
    }


def _size(request: HttpRequest, headers: UploadHeaders, *, has_form: bool) -> int | None:
    """The file's size, if the headers say it. Raises HeaderInvalid."""
    declared = uploads.body_size(request)
    if headers.completes is False:
        if headers.length is None or has_form:
            raise HeaderInvalid("upload_length_required")
        return headers.length
    if has_form:
        return None
    if headers.length is not None and declared not in (None, headers.length):
        raise HeaderInvalid("upload_length_differs")
    return declared if headers.length is None else headers.length


def _address(request: Request, file: StoredFile, view: str) -> str:
    match = request.resolver_match
    namespace = match.namespace if match else "taskyard_api"
    path = reverse(f"{namespace}:{view}", args=[file.pk])
    return f"{request.scheme}://{request.get_host()}{path}/"


def _own_file(request: Request, file_id: str) -> StoredFile:
    """The user's file of this id. Raises NotFound, also for a file of another user."""
    return _own(records.owned_by(user_of(request).pk), file_id)


def own_upload(request: Request, file_id: str) -> StoredFile:
    """The user's upload of this id, whole or not. Raises NotFound."""
    return _own(records.uploads_of(user_of(request).pk), file_id)


def _own(files: "QuerySet[StoredFile]", file_id: str) -> StoredFile:
    file = files.filter(pk=int(file_id)).first() if int(file_id) <= LARGEST_ID else None
    if file is None:
        raise NotFound
    return file
