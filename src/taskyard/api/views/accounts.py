"""Registration, tokens, the own account."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from taskyard.accounts import passwords, profile, tokens
from taskyard.accounts.addresses import address_of
from taskyard.accounts.models import User
from taskyard.api import conditions, openapi, shapes
from taskyard.api.json import ACCOUNT_LIMIT, dumps
from taskyard.api.openapi import documented
from taskyard.api.representation import stamp
from taskyard.api.views.base import ApiView, OpenView, user_of
from taskyard.core import quotas

# RFC 6749: tokens are not for any cache.
UNCACHED = {"Cache-Control": "no-store"}


class Register(OpenView):
    @documented("Register a user", shapes.Registration, {201: shapes.Registered}, (400, 429))
    def post(self, request: Request) -> Response:
        """Makes a user, who may then log in. The name is compared without regard to case."""
        asked = shapes.read(shapes.Registration, request.data)
        user = passwords.register(
            username=asked.username,
            password=asked.password,
            address=address_of(request._request),
        )
        return Response({"id": user.pk, "username": user.username}, 201)


class Token(OpenView):
    @documented("Log in", shapes.Login, {200: shapes.TokenPair}, (400, 401, 429))
    def post(self, request: Request) -> Response:
        """Answers an access token for the Authorization header, and a refresh token to renew it."""
        asked = shapes.read(shapes.Login, request.data)
        user = passwords.log_in(
            username=asked.username,
            password=asked.password,
            address=address_of(request._request),
        )
        return Response(_pair(tokens.issue(user)), headers=UNCACHED)


class TokenRefresh(OpenView):
    @documented(
        "Get a new access token", shapes.RefreshRequest, {200: shapes.AccessToken}, (400, 401)
    )
    def post(self, request: Request) -> Response:
        """Answers a new access token, and a new refresh token if the server rotates them."""
        asked = shapes.read(shapes.RefreshRequest, request.data)
        return Response(_pair(tokens.refresh(asked.refresh)), headers=UNCACHED)


class TokenBlacklist(OpenView):
    @documented("Log out", shapes.RefreshRequest, {200: shapes.Nothing}, (400, 401))
    def post(self, request: Request) -> Response:
        """Ends the refresh token. A token that has ended already is no error."""
        tokens.log_out(shapes.read(shapes.RefreshRequest, request.data).refresh)
        return Response({})


class TokenVerify(OpenView):
    @documented("Verify a token", shapes.VerifyRequest, {200: shapes.Nothing}, (400, 401))
    def post(self, request: Request) -> Response:
        """Says whether a token, access or refresh, is valid now: 200 or 401."""
        tokens.verify(shapes.read(shapes.VerifyRequest, request.data).token)
        return Response({})


class Me(ApiView):
    body_limit = ACCOUNT_LIMIT

    @documented(
        "Show the own profile",
        None,
        {200: shapes.Profile, 304: None},
        parameters=[openapi.IF_NONE_MATCH, openapi.ETAG],
    )
    def get(self, request: Request) -> HttpResponseBase:
        """The `ETag` of the answer can be sent in `If-Match` with a change."""
        return conditions.tagged(request, dumps(_profile(user_of(request))))

    @documented(
        "Change the own profile",
        shapes.ProfileChange,
        {200: shapes.Profile},
        (400, 412),
        parameters=[openapi.IF_MATCH],
    )
    def patch(self, request: Request) -> Response:
        """Changes the fields that are given and keeps the others. An empty text clears a field."""
        asked = shapes.read(shapes.ProfileChange, request.data)
        user = user_of(request)
        with conditions.guarded(request, partial(_bodies, user)):
            profile.change(user, **asked.model_dump(exclude_unset=True))
        return Response(_profile(user))


class MePassword(ApiView):
    body_limit = ACCOUNT_LIMIT

    @documented(
        "Change the own password", shapes.PasswordChange, {200: shapes.TokenPair}, (400, 429)
    )
    def post(self, request: Request) -> Response:
        """Ends every token of the user, also the one of this request. The answer has new ones."""
        asked = shapes.read(shapes.PasswordChange, request.data)
        user = user_of(request)
        passwords.change(
            user,
            old=asked.old_password,
            new=asked.new_password,
            address=address_of(request._request),
        )
        return Response(_pair(tokens.issue(user)), headers=UNCACHED)


class Limits(ApiView):
    @documented("Show the own quota", None, {200: shapes.LimitsAnswer})
    def get(self, request: Request) -> Response:
        """Says how many tasks may be active at once, how many are, and which."""
        limits = quotas.limits(user_of(request).pk)
        return Response(
            {
                "active_limit": limits.active_limit,
                "active": limits.active,
                "available": limits.available,
                "tasks": limits.tasks,
            }
        )


def _pair(pair: tokens.Pair) -> dict[str, str]:
    if pair.refresh is None:
        return {"access": pair.access}
    return {"access": pair.access, "refresh": pair.refresh}


def _bodies(user: User) -> Iterator[bytes]:
    """What GET answers for a profile; the user is locked."""
    for row in User.objects.filter(pk=user.pk).select_for_update(no_key=True):
        yield dumps(_profile(row))


def _profile(user: User) -> dict[str, Any]:
    return {
        "id": user.pk,
        "username": user.username,
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "date_joined": stamp(user.date_joined),
    }
