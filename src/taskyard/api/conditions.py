"""Conditional requests (RFC 9110, 13): If-Match and If-None-Match."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from django.db import transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import get_conditional_response
from django.utils.http import parse_etags
from rest_framework.request import Request

from taskyard.api.json import MEDIA_TYPE
from taskyard.core.errors import Rejected

ANY = ["*"]
PRECONDITION_FAILED = 412


class PreconditionFailed(Rejected):
    """The resource does not meet the conditions of the request."""

    code = "precondition_failed"


class IfMatchInvalid(Rejected):
    """If-Match is not a list of entity tags."""

    code = "if_match_invalid"


class _Conditions(NamedTuple):
    """The entity tags of both headers; those of ``none_match`` without ``W/``."""

    match: list[str]
    none_match: list[str]

    def are_met(self, etags: set[str]) -> bool:
        """Whether an existing resource with these entity tags meets the conditions."""
        if self.match and self.match != ANY and etags.isdisjoint(self.match):
            return False
        return self.none_match != ANY and etags.isdisjoint(self.none_match)


def etag_of(body: bytes) -> str:
    return f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'


def conditional_response(
    request: Request, body: bytes, whole: bytes | None = None
) -> HttpResponseBase:
    """The response to a GET: the body with its ETag, or 304. Raises PreconditionFailed.

    If the body is a part of a representation, the ETag is that of ``whole``.
    """
    etag = etag_of(body if whole is None else whole)
    full_response = HttpResponse(body, MEDIA_TYPE, headers={"ETag": etag})
    response = get_conditional_response(request._request, etag=etag, response=full_response)
    if response is None:
        return full_response
    if response.status_code == PRECONDITION_FAILED:
        raise PreconditionFailed
    return response


@contextmanager
def precondition(request: Request, bodies: Callable[[], Iterable[bytes]]) -> Iterator[None]:
    """Roll back the change of the block unless the resource met the conditions before it.

    ``bodies`` locks the resource and returns its representation in each language. The block runs
    first, so that a request which is refused without conditions is refused in the same way with
    them. Raises PreconditionFailed, IfMatchInvalid.
    """
    conditions = _conditions(request)
    if conditions is None:
        yield
        return
    with transaction.atomic():
        etags = {etag_of(body) for body in bodies()}
        yield
        if not conditions.are_met(etags):
            raise PreconditionFailed


def _conditions(request: Request) -> _Conditions | None:
    if_match = request.META.get("HTTP_IF_MATCH")
    if_none_match = request.META.get("HTTP_IF_NONE_MATCH")
    if if_match is None and if_none_match is None:
        return None
    match = parse_etags(if_match or "")
    if if_match is not None and not match:
        raise IfMatchInvalid
    none_match = parse_etags(if_none_match or "")
    return _Conditions(match, [etag.removeprefix("W/") for etag in none_match])
