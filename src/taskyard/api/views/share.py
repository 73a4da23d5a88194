"""Views of links: make one, and what a link shows without a user, on any site.

A link's token is accepted at the addresses of ``SharedView`` alone. They need no user and set no
cookie, so pages of any origin may read them (CORS), and nothing keeps a copy.
"""

from typing import Any, cast

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings

from taskyard.accounts import rate_limit
from taskyard.accounts.claims import CHALLENGE, KeyClaims
from taskyard.accounts.scopes import Scope
from taskyard.api import conditions, openapi, schemas
from taskyard.api.intake import parse
from taskyard.api.json import ACCOUNT_LIMIT, dumps
from taskyard.api.openapi import LAST_EVENT_ID, documented
from taskyard.api.scopes import may, refusal
from taskyard.api.serialize import isoformat_utc
from taskyard.api.shared import SharedStreams, serialize_shared, token_of
from taskyard.api.views.base import ApiView, user_of
from taskyard.api.views.events import STREAM, allow_stream
from taskyard.api.views.tasks import own_task
from taskyard.core import sharing
from taskyard.core.sharing import Share
from taskyard.live.streams import sse_view

UNCACHED = {"Cache-Control": "no-store"}
HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": (
        "Accept-Ranges, Content-Disposition, Content-Range, ETag, Repr-Digest, Retry-After, "
        "X-Request-ID"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
}
PREFLIGHT = {
    "Access-Control-Allow-Headers": (
        "accept, accept-language, authorization, cache-control, if-none-match, if-range, "
        "last-event-id, range, x-request-id"
    ),
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    "Access-Control-Max-Age": "86400",
}


class TaskShare(ApiView):
    body_limit = ACCOUNT_LIMIT
    scopes = {"POST": Scope.TASKS_READ}

    @documented("Share a task", schemas.ShareRequest, {201: schemas.ShareAnswer}, (400, 404, 429))
    def post(self, request: Request, task_id: str) -> Response:
        """Makes a link that shows the task without a user: state, progress, result or error,
        never the input. It ends when it expires, when the task is deleted, when the owner changes
        the password, and when the owner, or the service account of a subject, is suspended;
        nothing else ends it. The token is shown once."""
        body = parse(schemas.ShareRequest, request.data)
        if body.files and type(request.auth) is KeyClaims:
            with_files = {"POST": Scope.FILES}
            if not may(request.auth, "POST", with_files):
                raise refusal(request, with_files)
        task, owner = own_task(request, task_id), user_of(request)
        rate_limit.count_link(owner.pk)
        link = sharing.create(task, owner, seconds=body.expires_in, files=body.files)
        match = request.resolver_match
        api = match.namespace if match else "taskyard_api"
        answer = {
            "url": sharing.page_url(request._request, link.token),
            "token": link.token,
            "expires_at": isoformat_utc(link.expires_at),
            "files": link.files,
            "html": sharing.snippet(request._request, link.token, api=api),
        }
        return Response(answer, 201, headers=UNCACHED)


class ShareAuthentication(BaseAuthentication):
    """``request.auth`` is the Share; there is no user."""

    def authenticate(self, request: Request) -> tuple[Any, Share]:
        """Raises ShareRefused, in the same way for every reason."""
        share = sharing.read(token_of(request.META.get("HTTP_AUTHORIZATION")))
        make_anonymous = cast("Any", api_settings.UNAUTHENTICATED_USER)
        return make_anonymous() if make_anonymous else None, share

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class SharedView(ApiView):
    """A view for the token of a link, without a user."""

    authentication_classes = (ShareAuthentication,)
    permission_classes = ()

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]
        return Response(headers=PREFLIGHT)

    def owner_of_stream(self, request: Request) -> tuple[Any, float]:
        share = share_of(request)
        return share.task.owner_id, share.expires_at

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        for name, value in HEADERS.items():
            response.headers[name] = value
        return response


class Shared(SharedView):
    @documented(
        "Show a shared task",
        None,
        {200: schemas.SharedTask, 304: None},
        parameters=[openapi.IF_NONE_MATCH, openapi.ETAG],
        operation_id="shared_task",
    )
    def get(self, request: Request) -> HttpResponseBase:
        """For the token of a link: the task as the link shows it. Every other token, and one that
        has expired, is a 401 with the same body."""
        share = share_of(request)
        return conditions.conditional_response(request, dumps(serialize_shared(share.task, share)))


@sse_view(SharedStreams)
class SharedEvents(SharedView):
    @documented(
        "Follow a shared task",
        None,
        {200: OpenApiTypes.STR, 204: None},
        (406, 429),
        parameters=[LAST_EVENT_ID],
        operation_id="shared_events",
        media_type=STREAM,
    )
    def get(self, request: Request) -> Response:
        """For the token of a link. Server-sent events: `event: task`, `id:`, and the task in
        `data:`. First comes the task as it is, then every change. The stream ends after the task
        has ended, and when the link expires."""
        share_of(request)
        return allow_stream(request)


def share_of(request: Request) -> Share:
    return cast("Share", request.auth)
