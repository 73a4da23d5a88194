"""Turn exceptions into responses: in DRF's format, or RFC 9457 if the client accepts it."""

import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.shortcuts import render
from django.utils.translation import gettext as _
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from taskyard.accounts.claims import CHALLENGE
from taskyard.accounts.errors import (
    LoginRefused,
    MailBusy,
    MailNotConfigured,
    OnBehalfRefused,
    PasswordLoginOff,
    RegistrationClosed,
    SsoDenied,
    SsoExpired,
    SsoInvalid,
    SsoOff,
    SsoSuspended,
    SsoUnavailable,
    SubjectInvalid,
    SubjectSuspended,
    Throttled,
    TokenRefused,
    TooManyKeys,
    TooManySubjects,
)
from taskyard.api import conditions, idempotency, upload_headers
from taskyard.api.json import dumps
from taskyard.api.scopes import TaskTypeRefused
from taskyard.catalog.schema import MOST_FIELD_ERRORS, FieldError, InvalidInput
from taskyard.core import database_errors, messages
from taskyard.core.database_errors import Outage
from taskyard.core.errors import (
    ActiveLimitExceeded,
    BytesExceeded,
    EncryptionUnavailable,
    InputNotKept,
    KeyReused,
    NotCancellable,
    NotRetryable,
    Rejected,
    SecretUnreadable,
    StillActive,
    StillReferenced,
    SubmitRateExceeded,
)
from taskyard.core.sharing import ShareRefused
from taskyard.files import errors as files

PROBLEM = "application/problem+json"
logger = logging.getLogger(__name__)
RETRY_AFTER_OUTAGE = "5"
RETRY_AFTER_BUSY = "1"
STATUS_OF_REJECTED: dict[type[Rejected], int] = {
    TokenRefused: 401,
    LoginRefused: 401,
    ShareRefused: 401,
    Throttled: 429,
    TooManyKeys: 409,
    OnBehalfRefused: 403,
    SubjectInvalid: 400,
    SubjectSuspended: 403,
    TooManySubjects: 409,
    PasswordLoginOff: 403,
    SsoOff: 404,
    SsoDenied: 403,
    SsoExpired: 400,
    SsoInvalid: 400,
    SsoSuspended: 403,
    SsoUnavailable: 503,
    RegistrationClosed: 403,
    MailNotConfigured: 403,
    MailBusy: 503,
    ActiveLimitExceeded: 400,
    SubmitRateExceeded: 429,
    BytesExceeded: 507,
    NotCancellable: 409,
    NotRetryable: 409,
    InputNotKept: 409,
    SecretUnreadable: 409,
    EncryptionUnavailable: 503,
    StillActive: 409,
    StillReferenced: 409,
    KeyReused: 422,
    conditions.PreconditionFailed: 412,
    conditions.IfMatchInvalid: 400,
    idempotency.KeyInvalid: 400,
    idempotency.TaskDeleted: 409,
    files.FileTooLarge: 413,
    files.FileBytesExceeded: 507,
    files.FileCountExceeded: 507,
    files.TooManyFiles: 409,
    files.StorageFull: 507,
    files.StorageUnavailable: 503,
    files.FileMissing: 410,
    files.FileInUse: 409,
    files.WrongOffset: 409,
    files.UploadActive: 409,
    files.UploadGone: 410,
    files.UploadIncomplete: 400,
    files.DigestMismatch: 400,
    files.FormInvalid: 400,
    upload_headers.HeaderInvalid: 400,
    files.DirectUnavailable: 409,
}


@dataclass(frozen=True)
class Problem:
    """An error before it is rendered. ``field_errors`` name the invalid parts of the request."""

    status: int
    code: str
    detail: str
    field_errors: Sequence[FieldError] = ()
    headers: dict[str, str] = field(default_factory=dict)


def handle(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler; None for an unexpected exception, which becomes a 500."""
    problem = problem_of(exc)
    if problem is None:
        return None
    set_rollback()
    database_errors.note(exc)
    response = respond(problem, context["request"])
    view = context.get("view")
    if isinstance(exc, TokenRefused) and view is not None and view.authentication_classes:
        # Clients of simplejwt read this field.
        token = {"token_class": "AccessToken", "token_type": "access"}
        response.data["messages"] = [{**token, "message": problem.detail}]
    return response


def respond(problem: Problem, request: Any) -> Response:
    """The response to a request, in the format that it accepts."""
    data, content_type = _render(problem, request)
    return Response(data, problem.status, headers=problem.headers, content_type=content_type)


def problem_of(exc: BaseException) -> Problem | None:
    """The problem of an exception; None if it is not an expected one."""
    if outage := database_errors.outage_of(exc):
        retry_after = RETRY_AFTER_BUSY if outage is Outage.BUSY else RETRY_AFTER_OUTAGE
        detail = _("The service is unavailable for the moment. Try again soon.")
        return Problem(503, "unavailable", detail, headers={"Retry-After": retry_after})
    match exc:
        case TaskTypeRefused():
            detail = _("The API key may not submit this task type.")
            return Problem(403, "task_type_refused", detail, exc.field_errors)
        case InvalidInput():
            return _invalid(exc.field_errors)
        case Rejected():
            seconds = getattr(exc, "retry_after", None)
            headers = {} if seconds is None else {"Retry-After": str(seconds)}
            status = STATUS_OF_REJECTED.get(type(exc), 400)
            if isinstance(exc, files.WrongOffset):
                headers["Upload-Offset"] = str(exc.params["offset"])
            if status == 401:
                headers["WWW-Authenticate"] = CHALLENGE
            return Problem(
                status, exc.code, messages.of(exc.code, exc.code, exc.params), (), headers
            )
        case UnreadablePostError():
            return Problem(400, "parse_error", _("The body ended too early."))
        case Http404() | exceptions.NotFound():
            return Problem(404, "not_found", _("Not found."))
        case exceptions.APIException() if not _is_plain_denial(exc):
            # Classes of a host project may raise any of them.
            code, text = exc.get_codes(), exc.detail
            if not isinstance(code, str) or not isinstance(text, str):
                plain = type(exc)()
                code, text = plain.get_codes(), plain.detail
            header = getattr(exc, "auth_header", None)
            headers = {"WWW-Authenticate": header} if header else {}
            if wait := getattr(exc, "wait", None):
                headers["Retry-After"] = str(math.ceil(wait))
            return Problem(exc.status_code, str(code), str(text), (), headers)
        case PermissionDenied() | exceptions.PermissionDenied():
            return Problem(403, "permission_denied", _("This is not allowed."))
    return None


def _is_plain_denial(exc: exceptions.APIException) -> bool:
    """Whether a permission said no more than no."""
    return isinstance(exc, exceptions.PermissionDenied) and str(exc.detail) == str(
        exc.default_detail
    )


def plain_response(exc: Exception, request: HttpRequest) -> HttpResponse:
    """The response to an exception outside of a view, for example after a streamed upload."""
    problem = problem_of(exc)
    database_errors.note(exc)
    if problem is None:
        logger.error("request failed", exc_info=exc)
        problem = internal_error()
    return _response(request, problem)


def internal_error() -> Problem:
    """The problem of an unexpected exception."""
    return Problem(500, "error", _("The server made an error. It has been recorded."))


def nothing_found(request: HttpRequest) -> HttpResponse:
    """The response to a path of the API that no view has, in JSON."""
    return _response(request, Problem(404, "not_found", _("Not found.")))


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    if not _wants_json(request):
        return _page(request, "404.html", 404)
    return nothing_found(request)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not _wants_json(request):
        return _page(request, "400.html", 400)
    return _response(request, Problem(400, "bad_request", _("The request is not acceptable.")))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not _wants_json(request):
        return _page(request, "403.html", 403)
    return _response(request, Problem(403, "permission_denied", _("This is not allowed.")))


def server_error(request: HttpRequest) -> HttpResponse:
    """Also handles exceptions outside views, for example an outage in a middleware."""
    exc = sys.exc_info()[1] or Exception()
    problem = problem_of(exc)
    database_errors.note(exc)
    if problem is None or problem.status != 503:
        problem = internal_error()
    if _wants_json(request):
        return _response(request, problem)
    page = _page(request, "500.html", problem.status)
    for name, value in problem.headers.items():
        page[name] = value
    return page


def busy(request: HttpRequest) -> HttpResponse:
    """The response to a request that exceeds a budget of ``server.admission``."""
    headers = {"Retry-After": RETRY_AFTER_BUSY}
    detail = _("Too many requests at once. Try again soon.")
    return _respond_or_page(request, Problem(503, "busy", detail, headers=headers))


def too_large(request: HttpRequest) -> HttpResponse:
    """The response to a form with too many bytes."""
    return _respond_or_page(request, Problem(413, "too_large", _("The form is too large.")))


def _respond_or_page(request: HttpRequest, problem: Problem) -> HttpResponse:
    if _wants_json(request):
        return _response(request, problem)
    page = _page(request, "problem.html", problem.status, problem=problem)
    for name, value in problem.headers.items():
        page[name] = value
    return page


def _page(request: HttpRequest, name: str, status: int, **context: Any) -> HttpResponse:
    """A page with its menu. The menu does not query the user if the database may be away."""
    context |= {"may_ask_database": status < 500, "go_on_at": "/"}
    try:
        return render(request, name, context, status=status)
    except Error:
        context["may_ask_database"] = False
        return render(request, name, context, status=status)


def _wants_json(request: HttpRequest) -> bool:
    return request.path_info.startswith("/api/") or "json" in request.headers.get("Accept", "")


def _response(request: HttpRequest, problem: Problem) -> HttpResponse:
    data, content_type = _render(problem, request)
    return HttpResponse(dumps(data), content_type, status=problem.status, headers=problem.headers)


def _invalid(field_errors: Sequence[FieldError]) -> Problem:
    if len(field_errors) == 1 and not field_errors[0].path:
        return Problem(
            400, field_errors[0].code, messages.of_field_error(field_errors[0]), field_errors
        )
    return Problem(400, "invalid", _("The request is not valid."), field_errors[:MOST_FIELD_ERRORS])


def _render(problem: Problem, request: Any) -> tuple[dict[str, Any], str]:
    """The body of a problem and its content type."""
    if _accepts_problem(request.headers.get("Accept", "")):
        return {
            "type": "about:blank",
            "title": HTTPStatus(problem.status).phrase,
            "status": problem.status,
            "detail": problem.detail,
            "code": problem.code,
            "errors": [
                {
                    "pointer": field_error.pointer,
                    "code": field_error.code,
                    "detail": messages.of_field_error(field_error),
                }
                for field_error in problem.field_errors
            ],
        }, PROBLEM
    if len(problem.field_errors) > 1 or any(
        field_error.path for field_error in problem.field_errors
    ):
        return _tree(problem.field_errors), "application/json"
    return {"detail": problem.detail, "code": problem.code}, "application/json"


def _accepts_problem(accept: str) -> bool:
    for option in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in option.split(";"))
        if media_type == PROBLEM:
            return not any(part in ("q=0", "q=0.0", "q=0.00", "q=0.000") for part in parameters)
    return False


def _tree(field_errors: Sequence[FieldError]) -> dict[str, Any]:
    """DRF's format: lists of texts, nested like the request."""
    tree: dict[str, Any] = {}
    for field_error in field_errors:
        # DRF's key for an error of the whole request.
        *parents, last = (str(step) for step in field_error.path or ("non_field_errors",))
        node = tree
        for step in parents:
            child = node.setdefault(step, {})
            if isinstance(child, list):
                child = node[step] = {"non_field_errors": child}
            node = child
        texts = node.setdefault(last, [])
        if isinstance(texts, dict):
            texts = texts.setdefault("non_field_errors", [])
        texts.append(messages.of_field_error(field_error))
    return tree
