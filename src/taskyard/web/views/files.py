"""The user's files: the list, uploads and downloads, previews, deletion.

The scripts of the form upload a small file in one request. A large one begins with a request that
names its size, and then its bytes come in pieces.
"""

import re
from typing import Any

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from taskyard.core import messages
from taskyard.core.conf import conf
from taskyard.core.errors import Rejected
from taskyard.core.types import LARGEST_ID
from taskyard.files import records, removal, serving, storage, usage, writing
from taskyard.files.errors import (
    FileInUse,
    FileMissing,
    StorageFull,
    StorageUnavailable,
    UploadActive,
    UploadIncomplete,
    WrongOffset,
)
from taskyard.files.models import State, StoredFile
from taskyard.files.receiving import Reception
from taskyard.files.writing import Writer
from taskyard.live import downloads, uploads
from taskyard.web import file_list, notes, previews
from taskyard.web.task_list import parse_ids
from taskyard.web.view_helpers import is_htmx_request, next_url, render, signed_in, user_of

# The size of a piece in a folder; other storages take the whole rest in one request.
PIECE_BYTES = 32 * 2**20
# After these the script asks how far the upload is, and goes on.
_PASSING = (StorageUnavailable, UploadActive, UploadIncomplete, WrongOffset)
_NUMBER = re.compile(r"[0-9]{1,15}")
# The browser takes an image for nothing else, and runs nothing in it.
IMAGE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Content-Disposition": "inline",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@signed_in
@require_safe
def files(request: HttpRequest) -> HttpResponse:
    user_id = user_of(request).pk
    before = parse_ids(request.GET.get("before", ""), 1)
    context = {
        "page": "files",
        "list": file_list.page(file_list.of_user(user_id), before=before[0] if before else None),
        "is_continued": bool(before),
        "used": usage.of(user_id),
        "limit": conf().FILES_PER_USER,
    }
    return render(request, "taskyard/web/files/list.html", context)


@uploads.takes_uploads("POST")
@signed_in
@require_POST
def upload(request: HttpRequest) -> HttpResponseBase:
    """Take a whole file, or begin an upload of ``size`` bytes that comes in pieces."""
    size, owner_id = _number(request, "size"), user_of(request).pk
    name = request.GET.get("name", "")
    try:
        if size is not None:
            file = writing.begin(owner_id, name, size=size, resumable=True)
            writing.first_writer(file, is_size_known=True, resumable=True).pause()
            return _answer(file)
        declared = uploads.body_size(request)
        file = writing.begin(owner_id, name, size=declared)
        writer = writing.first_writer(file, is_size_known=declared is not None)
        return _receive(request, file, writer)
    except Rejected as error:
        return _refusal(error)


@uploads.takes_uploads("PATCH")
@signed_in
@require_http_methods(["GET", "PATCH", "DELETE"])
def upload_piece(request: HttpRequest, file_id: int) -> HttpResponseBase:
    """Say how far an upload is, append the bytes from ``offset`` on, or cancel it."""
    file = _own(records.uploads_of(user_of(request).pk), file_id)
    if request.method == "DELETE":
        return _cancel(file)
    if request.method == "GET" or file.state != State.WRITING:
        return _answer(file)
    offset, size = _number(request, "offset") or 0, uploads.body_size(request) or 0
    try:
        writer = writing.resume(file, offset)
        completes = offset + size >= file.size
        return _receive(request, file, writer, resumable=True, completes=completes)
    except Rejected as error:
        return _refusal(error)


def _cancel(file: StoredFile) -> HttpResponse:
    try:
        removal.delete(file)
    except FileInUse as error:
        return _refusal(error)
    return HttpResponse(status=204)


@downloads.sends_files
@signed_in
@require_safe
def content(request: HttpRequest, file_id: int) -> HttpResponseBase:
    """Download a file."""
    file = _own_file(request, file_id)
    response, part = serving.respond(request, file)
    if part is None:
        return response
    try:
        stream = storage.read(file.key)
        stream.seek(part.start)
    except FileNotFoundError:
        return _no_content(FileMissing(name=file.name), 410)
    except (StorageFull, StorageUnavailable):
        away = StorageUnavailable()
        return _no_content(away, 503, {"Retry-After": str(away.retry_after)})
    return downloads.send(request, response, stream, part.size)


@signed_in
@require_POST
def delete(request: HttpRequest, file_id: int) -> HttpResponse:
    file = _own(file_list.of_user(user_of(request).pk), file_id)
    try:
        removal.delete(file)
        notes.success(request, _("Deleted: %(done)s.") % {"done": file.name})
    except FileInUse as error:
        notes.error(request, _text_of(error))
    return HttpResponseRedirect(next_url(request, default="taskyard_web:files"))


@signed_in
@require_safe
def image(request: HttpRequest, file_id: int) -> HttpResponse:
    """The bytes of an image, for the preview."""
    file = _own_file(request, file_id)
    if previews.kind(file) != "image":
        raise Http404
    try:
        data = previews.read_image(file)
    except FileNotFoundError:
        return HttpResponse(status=410)
    except (StorageFull, StorageUnavailable):
        return HttpResponse(status=503)
    return HttpResponse(data, content_type=file.content_type, headers=IMAGE_HEADERS)


@signed_in
@require_safe
def text(request: HttpRequest, file_id: int) -> HttpResponse:
    """The beginning of a text: a part of the page for scripts, or a page."""
    file = _own_file(request, file_id)
    if previews.kind(file) != "text":
        raise Http404
    name = "text" if is_htmx_request(request) else "text_page"
    context = {"page": "files", "file": file, "is_cut": file.size > previews.TEXT_BYTES}
    try:
        context["text"], status = previews.read_text(file), 200
    except FileNotFoundError:
        context["error"], status = _text_of(FileMissing(name=file.name)), 410
    except (StorageFull, StorageUnavailable):
        status = 503
    return render(request, f"taskyard/web/files/{name}.html", context, status=status)


def _receive(
    request: HttpRequest, file: StoredFile, writer: Writer, **options: Any
) -> HttpResponseBase:
    reception = Reception(file, writer, respond=_answer, refuse_with=_refusal, **options)
    return uploads.receive(request, reception)


def _answer(file: StoredFile) -> JsonResponse:
    """The file, or how far its upload is, for the script."""
    if file.state == State.WRITING:
        piece = PIECE_BYTES if storage.folder() else file.size
        url = reverse("taskyard_web:upload-piece", args=[file.pk])
        return JsonResponse({"url": url, "offset": file.received, "piece": piece})
    return JsonResponse(
        {
            "id": file.pk,
            "name": file.name,
            "content_type": file.content_type,
            "size": file.size,
            "size_text": filesizeformat(file.size),
        }
    )


def _refusal(error: Exception) -> JsonResponse:
    """Why an upload is refused: 400 for good, 503 if the script may go on later."""
    if not isinstance(error, Rejected):
        return JsonResponse({}, status=503)
    status = 503 if isinstance(error, _PASSING) else 400
    return JsonResponse({"error": _text_of(error)}, status=status)


def _no_content(
    error: Rejected, status: int, headers: dict[str, str] | None = None
) -> HttpResponse:
    """Why there is no download."""
    text = _text_of(error)
    return HttpResponse(text, "text/plain; charset=utf-8", status=status, headers=headers)


def _text_of(error: Rejected) -> str:
    return messages.of(error.code, error.code, error.params)


def _number(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name, "")
    return int(text) if _NUMBER.fullmatch(text) else None


def _own_file(request: HttpRequest, file_id: int) -> StoredFile:
    """The user's file. Raises Http404 if it does not exist or belongs to another user."""
    return _own(records.owned_by(user_of(request).pk), file_id)


def _own(files: "QuerySet[StoredFile]", file_id: int) -> StoredFile:
    file = files.filter(pk=file_id).first() if file_id <= LARGEST_ID else None
    if file is None:
        raise Http404
    return file
