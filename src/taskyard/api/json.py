"""DRF's parser, renderer and content negotiation for JSON (``core.strict_json``)."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import IO, Any

from django.utils.translation import gettext_lazy as _
from rest_framework import exceptions
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from taskyard.core import strict_json
from taskyard.core.intake import BODY_LIMIT as BODY_LIMIT
from taskyard.core.strict_json import dumps as dumps

MEDIA_TYPE = "application/json"
BULK_LIMIT = 8 * 1024 * 1024
# Requests with names, passwords and tokens are short and need no token.
ACCOUNT_LIMIT = 16 * 1024
# Longer than any real media type with its parameters.
LONGEST_CONTENT_TYPE = 256


class InvalidJson(exceptions.ParseError):
    """The body is not JSON. The text names the position, if it is known."""


class TooLarge(exceptions.APIException):
    """The body has more bytes than the view's ``body_limit``."""

    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"

    def __init__(self, limit: int) -> None:
        message = _("The body has more than %(limit)s bytes.")
        super().__init__(message % {"limit": limit})


class Parser(BaseParser):
    """Reads at most the view's ``body_limit`` bytes. Raises InvalidJson, TooLarge, InvalidInput."""

    media_type = MEDIA_TYPE

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        context = parser_context or {}
        request: Request = context["request"]
        limit = getattr(context.get("view"), "body_limit", BODY_LIMIT)
        if request.META.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
            raise exceptions.UnsupportedMediaType(
                MEDIA_TYPE, _("Compressed request bodies are not supported.")
            )
        raw = stream.read(limit + 1)
        if len(raw) > limit:
            raise TooLarge(limit)
        return self.decode(raw, context)

    def decode(self, raw: bytes, context: Mapping[str, Any]) -> Any:
        return loads(raw)


class Renderer(BaseRenderer):
    media_type = MEDIA_TYPE
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return b"" if data is None else dumps(data)


class JsonOnlyNegotiation(BaseContentNegotiation):
    """Ignores the Accept header: every response is JSON."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        if len(request.content_type) > LONGEST_CONTENT_TYPE:
            return None
        media_type, *parameters = request.content_type.lower().split(";")
        for parameter in parameters:
            name, _equals, value = parameter.partition("=")
            if name.strip() == "charset" and value.strip(' "') not in ("utf-8", "utf8"):
                return None
        media_type = media_type.strip()
        return next((parser for parser in parsers if parser.media_type == media_type), None)

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        return next(iter(renderers)), MEDIA_TYPE


def loads(raw: bytes) -> Any:
    """The value of a body. Raises InvalidJson, InvalidInput for U+0000."""
    try:
        return strict_json.loads(raw)
    except strict_json.InvalidJson as error:
        raise InvalidJson(error.message) from None


def declared_size(request: Request) -> int:
    """The size of the body in bytes by Content-Length; Django reads no more."""
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0
