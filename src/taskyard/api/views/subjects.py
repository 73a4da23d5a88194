"""Views of the subjects of a service account, for projects with our accounts."""

from typing import Any

from django.db.models import OuterRef, Subquery
from pydantic import Field
from rest_framework.request import Request
from rest_framework.response import Response

from taskyard.accounts import subject_tokens, subjects
from taskyard.accounts.claims import KeyClaims
from taskyard.accounts.errors import OnBehalfRefused
from taskyard.accounts.models import ServiceAccount, Subject
from taskyard.accounts.scopes import Scope
from taskyard.api import schemas
from taskyard.api.intake import parse
from taskyard.api.openapi import documented, parameters_of
from taskyard.api.pagination import (
    LinkParams,
    Page,
    PageQuery,
    page_by_number,
    parse_query,
    serialize_page,
)
from taskyard.api.serialize import isoformat_utc
from taskyard.api.views.base import ApiView, user_of
from taskyard.core.conf import conf
from taskyard.core.models import Quota
from taskyard.core.types import LARGEST_ID

# RFC 6749, 5.1: responses with tokens must not be cached.
UNCACHED = {"Cache-Control": "no-store"}


class SubjectQuery(PageQuery):
    """The query parameters of the list of subjects."""

    after: int | None = Field(
        None, ge=0, le=LARGEST_ID, description="Subjects behind this id; no count"
    )
    name: str | None = Field(None, max_length=100, description="The subject of this name alone")


class Subjects(ApiView):
    scopes = {"GET": Scope.TASKS_READ}

    @documented(
        "List the subjects of the service account",
        None,
        {200: schemas.SubjectPage},
        (400, 403, 404),
        parameters=parameters_of(SubjectQuery),
        operation_id="subjects_list",
    )
    def get(self, request: Request) -> Response:
        """Lists those on whose behalf the service account has ever asked, oldest first."""
        query = parse_query(SubjectQuery, request.query_params)
        found = _with_quotas(_claims_of_account(request).user_id)
        if query.name is not None:
            found = found.filter(name=query.name)
        if query.after is None:
            page: Page[Any] = page_by_number(found, query)
        else:
            rows = list(found.filter(pk__gt=query.after)[: query.size + 1])
            has_more = len(rows) > query.size
            following: LinkParams | None = {"after": rows[query.size - 1].pk} if has_more else None
            page = Page(None, rows[: query.size], following, None)
        return Response(serialize_page(request, page, _serialize))


class SubjectToken(ApiView):
    scopes = {"POST": Scope.TASKS_READ}

    @documented(
        "Make a token for a subject",
        schemas.SubjectTokenRequest,
        {200: schemas.SubjectTokenAnswer},
        (400, 403, 409),
    )
    def post(self, request: Request, name: str) -> Response:
        """Answers a short token that reads the tasks of this subject, and does nothing else: a
        browser can follow them with it. It cannot be refreshed, and ends with the key."""
        body = parse(schemas.SubjectTokenRequest, request.data or {})
        claims = _claims_of_account(request)
        user = subjects.find_or_create(claims.user_id, subjects.check_name(name))
        token, expires_at = subject_tokens.issue(
            claims, user_id=user.pk, subject=name, seconds=body.expires_in
        )
        answer = {"access": token, "expires_at": isoformat_utc(expires_at), "subject": name}
        return Response(answer, headers=UNCACHED)


def _claims_of_account(request: Request) -> KeyClaims:
    """What the key of a service account says. Raises OnBehalfRefused for any other request."""
    claims: Any = request.auth
    if type(claims) is not KeyClaims or claims.account_id is not None:
        raise OnBehalfRefused
    if not ServiceAccount.objects.filter(pk=user_of(request).pk).exists():
        raise OnBehalfRefused
    return claims


def _with_quotas(account_id: int) -> Any:
    quota = Quota.objects.filter(user_id=OuterRef("user_id"))
    return (
        Subject.objects.filter(account_id=account_id)
        .select_related("user")
        .annotate(
            active=Subquery(quota.values("active")),
            active_limit=Subquery(quota.values("active_limit")),
        )
        .order_by("pk")
    )


def _serialize(subject: Any) -> dict[str, Any]:
    own = subject.active_limit
    return {
        "id": subject.pk,
        "name": subject.name,
        "created_at": isoformat_utc(subject.created_at),
        "suspended": not subject.user.is_active,
        "active": subject.active or 0,
        "active_limit": conf().ACTIVE_LIMIT if own is None else own,
    }
