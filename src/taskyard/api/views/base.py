"""The base classes of the API's views, which work in any project with Django REST Framework.

They take two of its settings in ``REST_FRAMEWORK``: DEFAULT_AUTHENTICATION_CLASSES, and
DEFAULT_PERMISSION_CLASSES in addition to IsAuthenticated. All other settings are our own.
"""

import math
from collections.abc import Callable
from functools import cache, partial
from http import HTTPStatus
from typing import Any, ClassVar, cast

from django.contrib.auth.base_user import AbstractBaseUser
from django.utils import translation
from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import APIException
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView

from taskyard.accounts.claims import IssuerClaims, KeyClaims, LazyUser, TokenClaims
from taskyard.accounts.errors import OnBehalfRefused
from taskyard.api import errors
from taskyard.api.forms import Multipart, UrlEncoded
from taskyard.api.json import (
    ACCOUNT_LIMIT,
    BODY_LIMIT,
    MEDIA_TYPE,
    JsonOnlyNegotiation,
    Parser,
    Renderer,
    TooLarge,
    declared_size,
)
from taskyard.api.scopes import Scopes, may, refusal
from taskyard.core.languages import shown_language
from taskyard.live.asgi import is_from_live, owner_headers

AUTHENTICATION: tuple[Any, ...] = tuple(api_settings.DEFAULT_AUTHENTICATION_CLASSES)
PERMISSIONS: tuple[Any, ...] = (
    IsAuthenticated,
    *(
        permission
        for permission in cast("list[Any]", api_settings.DEFAULT_PERMISSION_CLASSES)
        if permission not in (AllowAny, IsAuthenticated)
    ),
)


class UserWithoutKey(APIException):
    """A user without a primary key, as authentication classes for machines make them."""

    default_detail = _("This user has no primary key and cannot own tasks.")
    status_code = 403
    default_code = "user_without_key"


class ApiView(APIView):
    """A view for authenticated users. ``body_limit`` is in bytes.

    ``scopes`` has the scope that an API key needs for a method; keys are refused all other methods.
    """

    body_limit: ClassVar[int] = BODY_LIMIT
    scopes: ClassVar[Scopes] = {}
    parser_classes: Any = (Parser,)
    renderer_classes = (Renderer,)
    content_negotiation_class = JsonOnlyNegotiation
    authentication_classes: Any = AUTHENTICATION
    permission_classes: Any = PERMISSIONS
    # DRF's mark of a view without a model; DjangoModelPermissions asks all others for a queryset.
    _ignore_model_permissions = True
    throttle_classes = ()
    versioning_class = None
    metadata_class = None
    # Left out of a project's own document; ``api.openapi`` describes the views.
    schema: Any = None
    is_documented = True
    _after_response: Callable[[], None] | None = None
    http_method_names = ["get", "post", "put", "patch", "delete", "head", "options"]

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        language = shown_language()
        if language == translation.get_language():
            return super().dispatch(request, *args, **kwargs)
        with translation.override(language):
            response = super().dispatch(request, *args, **kwargs)
            response.headers["Content-Language"] = language
            return response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # As DRF's ``initial``, without versions, throttles and negotiation of the response.
        self.format_kwarg = None
        request.accepted_renderer, request.accepted_media_type = RENDERER, MEDIA_TYPE
        if request.method == "OPTIONS":
            return
        self.perform_authentication(request)
        if "HTTP_ON_BEHALF_OF" in request.META and self.authentication_classes:
            _check_acting(request)
        if type(request.auth) is KeyClaims:
            self._check_key(request, request.auth)
        self.check_permissions(request)
        if _lacks_key(request.user):
            raise UserWithoutKey
        is_streamed = request.method in getattr(self, "upload_methods", ())
        if not is_streamed and declared_size(request) > self.body_limit:
            raise TooLarge(self.body_limit)

    def _check_key(self, request: Request, claims: KeyClaims) -> None:
        """Raise InsufficientScope, TokenRefused; else note the key's use after the response."""
        from taskyard.accounts import keys

        has_scope = may(claims, str(request.method), self.scopes)
        if not has_scope and request.method in self.allowed_methods:  # else 405
            raise refusal(request, self.scopes)
        self._after_response = partial(keys.note_use, claims)

    def options(self, request: Request, *args: Any, **kwargs: Any) -> Response:  # type: ignore[override]  # as DRF's
        """An empty response with Allow. It needs no token, because browsers send none."""
        return Response()

    @property
    def default_response_headers(self) -> dict[str, str]:
        return {"Allow": _allowed_by(type(self))}  # type: ignore[arg-type]  # a class is hashable

    def get_exception_handler(self) -> Callable[[Exception, dict[str, Any]], Response | None]:
        return errors.handle

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        # Responses belong to one user, and a cached copy must be revalidated by its ETag.
        response.headers.setdefault("Cache-Control", "private, no-cache")
        if is_from_live(request._request) and response.status_code < 400:
            for name, value in owner_headers(*self.owner_of_stream(request)).items():
                response.headers[name] = value
        if self._after_response and response.status_code != HTTPStatus.UNAUTHORIZED:
            response._resource_closers.append(self._after_response)
        return response

    def owner_of_stream(self, request: Request) -> tuple[Any, float]:
        """The owner's id and the Unix time at which the credentials expire."""
        claims: Any = request.auth
        is_ours = isinstance(claims, TokenClaims | KeyClaims | IssuerClaims)
        return owner_id_of(request), claims.expires_at if is_ours else math.inf


RENDERER = Renderer()


@cache
def _allowed_by(view: Any) -> str:
    methods = view().allowed_methods
    return ", ".join([*methods, "HEAD"] if "GET" in methods else methods)


class OpenView(ApiView):
    """A view that ignores tokens. It accepts forms too, and only short bodies."""

    body_limit = ACCOUNT_LIMIT
    parser_classes = (Parser, UrlEncoded, Multipart)
    authentication_classes = ()
    permission_classes = ()


def _check_acting(request: Request) -> None:
    """Raise OnBehalfRefused if the authentication of a project has ignored On-Behalf-Of."""
    if request.user and request.user.is_authenticated and subject_of(request) is None:
        raise OnBehalfRefused


def _lacks_key(user: Any) -> bool:
    return user is not None and user.is_authenticated and getattr(user, "pk", user) is None


def owner_id_of(request: Request) -> Any:
    """The id of the authenticated user, who is not looked up for it.

    A user who has been looked up may have another id than the claim: a subject that was made again.
    """
    user: Any = request.user
    if type(user) is not LazyUser:
        return user.pk
    verified = vars(user).get("verified")
    return user.claim.user_id if verified is None else verified.pk


def subject_of(request: Request) -> str | None:
    """The subject on whose behalf a service account asks; None for all others, also itself."""
    claims = request.auth
    if type(claims) is not KeyClaims or claims.is_subject_token:
        return None
    return claims.subject or None


def user_of(request: Request) -> AbstractBaseUser:
    """The authenticated user of a request. Raises TokenRefused."""
    user: Any = request.user
    return user.verified if type(user) is LazyUser else cast("AbstractBaseUser", user)
