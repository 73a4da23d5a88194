"""The middleware of our own project; requests to the API skip most of Django's."""

import re
import secrets
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponseForbidden, HttpResponsePermanentRedirect
from django.http.response import HttpResponseBase
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.locale import LocaleMiddleware
from django.urls import Resolver404, resolve
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.deprecation import MiddlewareMixin
from django.utils.translation.trans_real import parse_accept_lang_header

from taskyard.api import errors
from taskyard.server.logs import request_id
from taskyard.server.request_log import note_user
from taskyard.server.wsgi_adapter import BUSY, REFUSAL

GetResponse = Callable[[HttpRequest], HttpResponseBase]

# Requests to these paths need no session, cookie or CSRF check, which would cost time and a query.
WITHOUT_SITE = ("/api/", "/metrics")

# Browsers load everything from this server; `data:` is for the images in Swagger UI's style sheet.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)

_SESSION_KEY = re.compile(r"[a-z0-9]{1,40}", re.ASCII)
_USABLE_ID = re.compile(r"[\x21-\x7e]{1,128}")


class RequestId:
    """Echoes the client's X-Request-ID if it is valid, or makes one, and adds it to log records."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        client_id = request.META.get("HTTP_X_REQUEST_ID", "")
        current = client_id if _USABLE_ID.fullmatch(client_id) else secrets.token_hex(16)
        token = request_id.set(current)
        try:
            response = self.get_response(request)
        finally:
            request_id.reset(token)
            note_user(request)
        response.headers["X-Request-ID"] = current
        return response


class SecurityHeaders:
    """Adds security headers to every response, also to those of later middleware."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("X-Frame-Options", settings.X_FRAME_OPTIONS)
        response.headers.setdefault("Referrer-Policy", settings.SECURE_REFERRER_POLICY)
        return response


class ApiLocale:
    """Checks the host and activates the language of requests to the API.

    It replaces Django's LocaleMiddleware and CommonMiddleware for them, and caches the language of
    each Accept-Language.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(WITHOUT_SITE):
            return self.get_response(request)
        request.get_host()
        language = _language(request.META.get("HTTP_ACCEPT_LANGUAGE", ""))
        translation.activate(language)
        response = self.get_response(request)
        if "Vary" in response:
            patch_vary_headers(response, ("Accept-Language",))
        else:
            response.headers["Vary"] = "Accept-Language"
        response.headers["Content-Language"] = language
        return response


@lru_cache(maxsize=256)
def _language(accept_language: str) -> str:
    request = HttpRequest()
    request.META["HTTP_ACCEPT_LANGUAGE"] = accept_language
    return translation.get_language_from_request(request)


class Refused:
    """Answers requests that ``server.admission`` has refused: busy, or a page's form is too large.

    If only the body of an API request is unread, its view answers by the headers.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        refusal = request.META.get(REFUSAL)
        if refusal is None:
            return self.get_response(request)
        if refusal == BUSY:
            return self._respond(request, errors.busy)
        if request.path_info.startswith(WITHOUT_SITE):
            return self.get_response(request)
        return self._respond(request, errors.too_large)

    def _respond(
        self, request: HttpRequest, respond: Callable[[HttpRequest], HttpResponseBase]
    ) -> HttpResponseBase:
        with translation.override(site_language(request)):
            return respond(request)


class _SiteOnly(MiddlewareMixin):
    """Skips a middleware of Django's for requests to the API."""

    def __call__(self, request: HttpRequest) -> Any:
        if request.path_info.startswith(WITHOUT_SITE):
            return self.get_response(request)
        return super().__call__(request)


class SiteSession(_SiteOnly, SessionMiddleware):
    def process_request(self, request: HttpRequest) -> None:
        # A quoted cookie can contain U+0000, which PostgreSQL refuses in a query.
        if not _SESSION_KEY.fullmatch(request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")):
            request.COOKIES.pop(settings.SESSION_COOKIE_NAME, None)
        super().process_request(request)


class SiteQuery(_SiteOnly, MiddlewareMixin):
    def process_request(self, request: HttpRequest) -> None:
        # The admin would use it in a query, which PostgreSQL refuses.
        if "%00" in request.META.get("QUERY_STRING", ""):
            raise BadRequest("null characters are not allowed")


class SiteLocale(_SiteOnly, LocaleMiddleware):
    """Activates the language of a page.

    Russian if the browser names no language, English if it names only unsupported ones.
    """

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        language = site_language(request)
        translation.activate(language)
        request.LANGUAGE_CODE = language


def site_language(request: HttpRequest) -> str:
    """The language that the user chose on the page, or else by Accept-Language."""
    if settings.LANGUAGE_COOKIE_NAME in request.COOKIES:
        return translation.get_language_from_request(request)
    return _site_language(request.META.get("HTTP_ACCEPT_LANGUAGE", ""))


@lru_cache(maxsize=256)
def _site_language(accept_language: str) -> str:
    accepted = parse_accept_lang_header(accept_language)
    languages = [language for language, _ in accepted if language != "*"]
    if not languages or any(map(_is_supported, languages)):
        return _language(accept_language)
    return "en"


def _is_supported(language: str) -> bool:
    try:
        return bool(translation.get_supported_language_variant(language))
    except LookupError:
        return False


class SiteCommon(_SiteOnly, CommonMiddleware):
    """Lets every path work with and without its last slash, without a redirect."""

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        path = request.path_info
        if not path.endswith("/") and not _is_known(path) and _is_known(f"{path}/"):
            request.path_info += "/"
            request.path += "/"
        return super().process_request(request)

    def should_redirect_with_slash(self, request: HttpRequest) -> bool:
        return False


def _is_known(path: str) -> bool:
    """Whether a page has this path. The admin's pattern for all other paths has no name."""
    try:
        return resolve(path).url_name is not None
    except Resolver404:
        return False


class SiteAuthentication(_SiteOnly, AuthenticationMiddleware):
    pass


class SiteMessages(_SiteOnly, MessageMiddleware):
    pass


class SiteCsrf(_SiteOnly, CsrfViewMiddleware):
    def process_view(
        self, request: HttpRequest, callback: Any, callback_args: Any, callback_kwargs: Any
    ) -> HttpResponseForbidden | None:
        # Django calls this method also if __call__ skipped the middleware.
        if request.path_info.startswith(WITHOUT_SITE):
            return None
        return super().process_view(request, callback, callback_args, callback_kwargs)
