"""What every request passes, and what requests to the API are spared."""

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
from taskyard.server.requests import note_user
from taskyard.server.wsgi_adapter import BUSY, REFUSAL

GetResponse = Callable[[HttpRequest], HttpResponseBase]

# Token authentication needs no session, cookie or form protection; each costs time and a query.
WITHOUT_SITE = ("/api/", "/metrics")

# All that a browser may load comes from here; the documentation's style sheet has inline images.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)

_SESSION_KEY = re.compile(r"[a-z0-9]{1,40}", re.ASCII)
_USABLE_ID = re.compile(r"[\x21-\x7e]{1,128}")


class RequestId:
    """Echoes a usable X-Request-ID or makes one, and puts it into every log record."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        current = given if _USABLE_ID.fullmatch(given) else secrets.token_hex(16)
        token = request_id.set(current)
        try:
            response = self.get_response(request)
        finally:
            request_id.reset(token)
            note_user(request)
        response.headers["X-Request-ID"] = current
        return response


class SecurityHeaders:
    """What every answer tells a browser, also those that are given before the rest is asked."""

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
    """What requests to the API pass in place of Django's middleware for a site.

    They name a host of ours, and a language in Accept-Language, most of them the same one.
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
def _language(accepted: str) -> str:
    asking = HttpRequest()
    asking.META["HTTP_ACCEPT_LANGUAGE"] = accepted
    return translation.get_language_from_request(asking)


class Refused:
    """Answers what ``server.admission`` has no room for, or what a page does not read.

    Views of the API say themselves, by its headers, what is wrong with a request without its body.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        refusal = request.META.get(REFUSAL)
        if refusal is None:
            return self.get_response(request)
        if refusal == BUSY:
            return self._answer(request, errors.busy)
        if request.path_info.startswith(WITHOUT_SITE):
            return self.get_response(request)
        return self._answer(request, errors.too_large)

    def _answer(
        self, request: HttpRequest, answer: Callable[[HttpRequest], HttpResponseBase]
    ) -> HttpResponseBase:
        with translation.override(site_language(request)):
            return answer(request)


class _SiteOnly(MiddlewareMixin):
    def __call__(self, request: HttpRequest) -> Any:
        if request.path_info.startswith(WITHOUT_SITE):
            return self.get_response(request)
        return super().__call__(request)


class SiteSession(_SiteOnly, SessionMiddleware):
    def process_request(self, request: HttpRequest) -> None:
        # Quoted, a cookie can hold any byte, and PostgreSQL is asked for no key with U+0000.
        if not _SESSION_KEY.fullmatch(request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")):
            request.COOKIES.pop(settings.SESSION_COOKIE_NAME, None)
        super().process_request(request)


class SiteQuery(_SiteOnly, MiddlewareMixin):
    def process_request(self, request: HttpRequest) -> None:
        # The admin would filter by it, which PostgreSQL refuses and SQLite does not.
        if "%00" in request.META.get("QUERY_STRING", ""):
            raise BadRequest("null characters are not allowed")


class SiteLocale(_SiteOnly, LocaleMiddleware):
    """Russian where nothing is asked for, English where only others are."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        language = site_language(request)
        translation.activate(language)
        request.LANGUAGE_CODE = language


def site_language(request: HttpRequest) -> str:
    """What was chosen on the page, else the best of what the browser asks for."""
    if settings.LANGUAGE_COOKIE_NAME in request.COOKIES:
        return translation.get_language_from_request(request)
    return _of_the_site(request.META.get("HTTP_ACCEPT_LANGUAGE", ""))


@lru_cache(maxsize=256)
def _of_the_site(accepted: str) -> str:
    named = [language for language, _ in parse_accept_lang_header(accepted) if language != "*"]
    if not named or any(map(_is_spoken, named)):
        return _language(accepted)
    return "en"


def _is_spoken(language: str) -> bool:
    try:
        return bool(translation.get_supported_language_variant(language))
    except LookupError:
        return False


class SiteCommon(_SiteOnly, CommonMiddleware):
    """Every address works with and without its last slash, without a redirect."""

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        path = request.path_info
        if not path.endswith("/") and not _is_known(path) and _is_known(f"{path}/"):
            request.path_info += "/"
            request.path += "/"
        return super().process_request(request)

    def should_redirect_with_slash(self, request: HttpRequest) -> bool:
        return False


def _is_known(path: str) -> bool:
    """Whether a page has this address; what the admin answers to all others has no name."""
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
        # Django calls this hook whatever __call__ decided.
        if request.path_info.startswith(WITHOUT_SITE):
            return None
        return super().process_view(request, callback, callback_args, callback_kwargs)
