"""Views of registration, tokens and the own profile, for projects with our accounts."""

from collections.abc import Iterator
from functools import partial
from typing import Any, cast

from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from taskyard.accounts import email_confirmation, password_reset, passwords, profile, tokens
from taskyard.accounts import openapi as _openapi  # noqa: F401  # describes our tokens
from taskyard.accounts.addresses import client_ip
from taskyard.accounts.models import User
from taskyard.api import conditions, openapi, schemas
from taskyard.api.intake import parse
from taskyard.api.json import ACCOUNT_LIMIT, dumps
from taskyard.api.openapi import documented
from taskyard.api.serialize import isoformat_utc
from taskyard.api.views.base import ApiView, OpenView, user_of

# RFC 6749, 5.1: responses with tokens must not be cached.
UNCACHED = {"Cache-Control": "no-store"}


class Register(OpenView):
    @documented("Register a user", schemas.Registration, {201: schemas.Registered}, (400, 403, 429))
    def post(self, request: Request) -> Response:
        """Makes a user, who may then log in. The name is compared without regard to case."""
        body = parse(schemas.Registration, request.data)
        user = passwords.register(
            username=body.username,
            password=body.password,
            invitation=body.invitation,
            address=client_ip(request._request),
        )
        return Response({"id": user.pk, "username": user.username}, 201)


class Token(OpenView):
    @documented("Log in", schemas.Login, {200: schemas.TokenPair}, (400, 401, 403, 429))
    def post(self, request: Request) -> Response:
        """Answers an access token for the Authorization header, and a refresh token to renew it."""
        body = parse(schemas.Login, request.data)
        user = passwords.log_in(
            username=body.username,
            password=body.password,
            address=client_ip(request._request),
        )
        return Response(_pair(tokens.issue(user)), headers=UNCACHED)


class TokenRefresh(OpenView):
    @documented(
        "Get a new access token", schemas.RefreshRequest, {200: schemas.AccessToken}, (400, 401)
    )
    def post(self, request: Request) -> Response:
        """Answers a new access token, and a new refresh token if the server rotates them."""
        body = parse(schemas.RefreshRequest, request.data)
        return Response(_pair(tokens.refresh(body.refresh)), headers=UNCACHED)


class TokenBlacklist(OpenView):
    @documented("Log out", schemas.RefreshRequest, {200: schemas.Nothing}, (400, 401))
    def post(self, request: Request) -> Response:
        """Ends the refresh token. A token that has ended already is no error."""
        tokens.log_out(parse(schemas.RefreshRequest, request.data).refresh)
        return Response({})


class TokenVerify(OpenView):
    @documented("Verify a token", schemas.VerifyRequest, {200: schemas.Nothing}, (400, 401))
    def post(self, request: Request) -> Response:
        """Says whether a token, access or refresh, is valid now: 200 or 401."""
        tokens.verify(parse(schemas.VerifyRequest, request.data).token)
        return Response({})


class PasswordReset(OpenView):
    @documented(
        "Ask for a link to reset the password",
        schemas.PasswordReset,
        {202: schemas.Nothing},
        (400, 403, 429),
    )
    def post(self, request: Request) -> Response:
        """Sends a mail to each user with this verified address. The answer says of none of them."""
        body = parse(schemas.PasswordReset, request.data)
        password_reset.request(body.email, address=client_ip(request._request))
        return Response({}, 202)


class PasswordResetConfirm(OpenView):
    @documented("Reset the password", schemas.PasswordResetConfirm, {204: None}, (400, 403, 429))
    def post(self, request: Request) -> Response:
        """Sets a new password, which ends every token and session of the user."""
        body = parse(schemas.PasswordResetConfirm, request.data)
        address = client_ip(request._request)
        password_reset.confirm(body.token, body.new_password, address=address)
        return Response(status=204)


class Me(ApiView):
    body_limit = ACCOUNT_LIMIT

    @documented(
        "Show the own profile",
        None,
        {200: schemas.Profile, 304: None},
        parameters=[openapi.IF_NONE_MATCH, openapi.ETAG],
    )
    def get(self, request: Request) -> HttpResponseBase:
        """The `ETag` of the answer can be sent in `If-Match` with a change."""
        return conditions.conditional_response(request, dumps(_profile(_user(request))))

    @documented(
        "Change the own profile",
        schemas.ProfileChange,
        {200: schemas.Profile},
        (400, 412, 429),
        parameters=[openapi.IF_MATCH],
    )
    def patch(self, request: Request) -> Response:
        """Changes the fields that are given and keeps the others. An empty text clears a field.

        If the server sends mail, an `email` that is not verified yet gets one with a link."""
        body = parse(schemas.ProfileChange, request.data)
        user = _user(request)
        with conditions.precondition(request, partial(_bodies, user)):
            changes = body.model_dump(exclude_unset=True)
            profile.change(user, address=client_ip(request._request), **changes)
        return Response(_profile(user))


class MePassword(ApiView):
    body_limit = ACCOUNT_LIMIT

    @documented(
        "Change the own password", schemas.PasswordChange, {200: schemas.TokenPair}, (400, 429)
    )
    def post(self, request: Request) -> Response:
        """Ends every token of the user, also the one of this request. The answer has new ones."""
        body = parse(schemas.PasswordChange, request.data)
        user = _user(request)
        passwords.change(
            user,
            old=body.old_password,
            new=body.new_password,
            address=client_ip(request._request),
        )
        return Response(_pair(tokens.issue(user)), headers=UNCACHED)


def _user(request: Request) -> User:
    """The authenticated user. Only TokenAuthentication is used, so it is ours."""
    return cast("User", user_of(request))


def _pair(pair: tokens.Pair) -> dict[str, str]:
    if pair.refresh is None:
        return {"access": pair.access}
    return {"access": pair.access, "refresh": pair.refresh}


def _bodies(user: User) -> Iterator[bytes]:
    """Lock the user; the body of its GET."""
    for row in User.objects.filter(pk=user.pk).select_for_update(no_key=True):
        yield dumps(_profile(row))


def _profile(user: User) -> dict[str, Any]:
    return {
        "id": user.pk,
        "username": user.username,
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "date_joined": isoformat_utc(user.date_joined),
        "email_verified": email_confirmation.is_confirmed(user),
    }
