"""The base classes of the API's views. They ignore the DRF settings of a host project."""

from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, cast

from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from taskyard.accounts.authentication import TokenAuthentication
from taskyard.accounts.credentials import CHALLENGE, LazyUser
from taskyard.accounts.models import User
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


class ApiView(APIView):
    """A view for authenticated users. ``body_limit`` is in bytes."""

    body_limit: ClassVar[int] = BODY_LIMIT
    parser_classes: Any = (Parser,)
    renderer_classes = (Renderer,)
    content_negotiation_class = JsonOnlyNegotiation
    authentication_classes: Any = (TokenAuthentication,)
    permission_classes: Any = (IsAuthenticated,)
    throttle_classes = ()
    metadata_class = None
    http_method_names = ["get", "post", "put", "patch", "delete", "head", "options"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # As DRF's ``initial``, without versions, throttles and negotiation of the response.
        self.format_kwarg = None
        request.accepted_renderer, request.accepted_media_type = RENDERER, MEDIA_TYPE
        if request.method == "OPTIONS":
            return
        self.perform_authentication(request)
        self.check_permissions(request)
        if declared_size(request) > self.body_limit:
            raise TooLarge(self.body_limit)

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
        return response

    def get_authenticate_header(self, request: Request) -> str:
        return CHALLENGE


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


def user_of(request: Request) -> User:
    """The authenticated user of a request. Raises TokenRefused."""
    user: Any = request.user
    return user.verified if isinstance(user, LazyUser) else cast("User", user)
