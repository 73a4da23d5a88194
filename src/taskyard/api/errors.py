"""Everything that can go wrong, as an answer: in DRF's shapes, or RFC 9457 for who asks for it."""

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

from taskyard.accounts.authentication import CHALLENGE
from taskyard.accounts.errors import LoginRefused, Throttled, TokenRefused
from taskyard.api import conditions, idempotency
from taskyard.api.json import dumps
from taskyard.catalog.schema import MOST_FIELD_ERRORS as MOST_FIELD_ERRORS
from taskyard.catalog.schema import FieldError, InvalidInput
from taskyard.core import database_errors, messages
from taskyard.core.database_errors import Outage
from taskyard.core.errors import (
    ActiveLimitExceeded,
    BytesExceeded,
    KeyReused,
    NotCancellable,
    NotRetryable,
    Rejected,
    StillActive,
    SubmitRateExceeded,
)

PROBLEM = "application/problem+json"
RETRY_AFTER_OUTAGE = "5"
RETRY_AFTER_BUSY = "1"
STATUS_OF_REFUSAL: dict[type[Rejected], int] = {
    TokenRefused: 401,
    LoginRefused: 401,
    Throttled: 429,
    ActiveLimitExceeded: 400,
    SubmitRateExceeded: 429,
    BytesExceeded: 507,
    NotCancellable: 409,
    NotRetryable: 409,
    StillActive: 409,
    KeyReused: 422,
    conditions.PreconditionFailed: 412,
    conditions.IfMatchInvalid: 400,
    idempotency.KeyInvalid: 400,
    idempotency.TaskDeleted: 409,
}


@dataclass(frozen=True)
class Problem:
    """An error before it is rendered. ``field_errors`` name the wrong parts of the request."""

    status: int
    code: str
    detail: str
    field_errors: Sequence[FieldError] = ()
    headers: dict[str, str] = field(default_factory=dict)


def handle(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler; None for what is a fault of ours and must be seen as one."""
    problem = problem_of(exc)
    if problem is None:
        return None
    set_rollback()
    database_errors.note(exc)
    response = respond(problem, context["request"])
    view = context.get("view")
    if isinstance(exc, TokenRefused) and view is not None and view.authentication_classes:
        # As simplejwt answers: the clients that it has look here.
        refused = {"token_class": "AccessToken", "token_type": "access"}
        response.data["messages"] = [{**refused, "message": problem.detail}]
    return response


def respond(problem: Problem, request: Any) -> Response:
    """The problem as an answer to a request, in the form that it asks for."""
    data, content_type = _written(problem, request)
    return Response(data, problem.status, headers=problem.headers, content_type=content_type)


def problem_of(exc: BaseException) -> Problem | None:
    if outage := database_errors.outage_of(exc):
        after = RETRY_AFTER_BUSY if outage is Outage.BUSY else RETRY_AFTER_OUTAGE
        detail = _("The service is unavailable for the moment. Try again soon.")
        return Problem(503, "unavailable", detail, headers={"Retry-After": after})
    match exc:
        case InvalidInput():
            return _invalid(exc.field_errors)
        case Rejected():
            wait = getattr(exc, "retry_after", None)
            headers = {} if wait is None else {"Retry-After": str(wait)}
            status = STATUS_OF_REFUSAL.get(type(exc), 400)
            if status == 401:
                headers["WWW-Authenticate"] = CHALLENGE
            return Problem(
                status, exc.code, messages.of(exc.code, exc.code, exc.params), (), headers
            )
        case UnreadablePostError():
            return Problem(400, "parse_error", _("The body ended too early."))
        case Http404() | exceptions.NotFound():
            return Problem(404, "not_found", _("Not found."))
        case PermissionDenied() | exceptions.PermissionDenied():
            return Problem(403, "permission_denied", _("This is not allowed."))
        case exceptions.APIException():
            # Every exception of DRF that we let happen has one text, never a tree.
            code = str(exc.get_codes())
            headers = {"WWW-Authenticate": CHALLENGE} if exc.status_code == 401 else {}
            return Problem(exc.status_code, code, str(exc.detail), (), headers)
    return None


def fault() -> Problem:
    """What is said of an error that nobody foresaw."""
    return Problem(500, "error", _("The server made an error. It has been recorded."))


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    if not _for_machines(request):
        return _page(request, "404.html", 404)
    return _answer(request, Problem(404, "not_found", _("Not found.")))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not _for_machines(request):
        return _page(request, "400.html", 400)
    return _answer(request, Problem(400, "bad_request", _("The request is not acceptable.")))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    if not _for_machines(request):
        return _page(request, "403.html", 403)
    return _answer(request, Problem(403, "permission_denied", _("This is not allowed.")))


def server_error(request: HttpRequest) -> HttpResponse:
    """Also for what fails before or after a view: an outage is told from a fault of ours."""
    exc = sys.exc_info()[1] or Exception()
    problem = problem_of(exc)
    database_errors.note(exc)
    if problem is None or problem.status != 503:
        problem = fault()
    if _for_machines(request):
        return _answer(request, problem)
    page = _page(request, "500.html", problem.status)
    for name, value in problem.headers.items():
        page[name] = value
    return page


def busy(request: HttpRequest) -> HttpResponse:
    """For a request that there is no room for now."""
    headers = {"Retry-After": RETRY_AFTER_BUSY}
    detail = _("Too many requests at once. Try again soon.")
    return _answer_or_page(request, Problem(503, "busy", detail, headers=headers))


def too_large(request: HttpRequest) -> HttpResponse:
    """For a form that is longer than any."""
    return _answer_or_page(request, Problem(413, "too_large", _("The form is too large.")))


def _answer_or_page(request: HttpRequest, problem: Problem) -> HttpResponse:
    if _for_machines(request):
        return _answer(request, problem)
    page = _page(request, "problem.html", problem.status, problem=problem)
    for name, value in problem.headers.items():
        page[name] = value
    return page


def _page(request: HttpRequest, name: str, status: int, **context: Any) -> HttpResponse:
    """A page with its menu. Where the database may be away, it is not asked who looks."""
    context |= {"may_ask_database": status < 500, "go_on_at": "/"}
    try:
        return render(request, name, context, status=status)
    except Error:
        context["may_ask_database"] = False
        return render(request, name, context, status=status)


def _for_machines(request: HttpRequest) -> bool:
    return request.path_info.startswith("/api/") or "json" in request.headers.get("Accept", "")


def _answer(request: HttpRequest, problem: Problem) -> HttpResponse:
    data, content_type = _written(problem, request)
    return HttpResponse(dumps(data), content_type, status=problem.status, headers=problem.headers)


def _invalid(field_errors: Sequence[FieldError]) -> Problem:
    if len(field_errors) == 1 and not field_errors[0].path:
        return Problem(
            400, field_errors[0].code, messages.of_field_error(field_errors[0]), field_errors
        )
    return Problem(400, "invalid", _("The request is not valid."), field_errors[:MOST_FIELD_ERRORS])


def _written(problem: Problem, request: Any) -> tuple[dict[str, Any], str]:
    if _wants_problem(request.headers.get("Accept", "")):
        return {
            "type": "about:blank",
            "title": HTTPStatus(problem.status).phrase,
            "status": problem.status,
            "detail": problem.detail,
            "code": problem.code,
            "errors": [
                {
                    "pointer": pointer(field_error),
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


def _wants_problem(accept: str) -> bool:
    for option in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in option.split(";"))
        if media_type == PROBLEM:
            return not any(part in ("q=0", "q=0.0", "q=0.00", "q=0.000") for part in parameters)
    return False


def pointer(field_error: FieldError) -> str:
    """The place in the request as a JSON pointer (RFC 6901)."""
    return "".join(
        f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in field_error.path
    )


def _tree(field_errors: Sequence[FieldError]) -> dict[str, Any]:
    """DRF's shape: texts in a list at the place, nested as the request is."""
    tree: dict[str, Any] = {}
    for field_error in field_errors:
        # What is wrong with the whole stands where DRF has it.
        *way, last = (str(step) for step in field_error.path or ("non_field_errors",))
        node = tree
        for step in way:
            known = node.setdefault(step, {})
            if isinstance(known, list):
                known = node[step] = {"non_field_errors": known}
            node = known
        known = node.setdefault(last, [])
        if isinstance(known, dict):
            known = known.setdefault("non_field_errors", [])
        known.append(messages.of_field_error(field_error))
    return tree
