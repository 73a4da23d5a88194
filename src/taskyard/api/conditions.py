"""Conditions of a request (RFC 9110, 13): If-Match and If-None-Match."""

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
    """The resource is not as the request supposes."""

    code = "precondition_failed"


class IfMatchInvalid(Rejected):
    """If-Match is not a list of entity tags."""

    code = "if_match_invalid"


class _Conditions(NamedTuple):
    """Entity tags; of ``none_of`` without the mark of a weak one."""

    any_of: list[str]
    none_of: list[str]

    def admit(self, tags: set[str]) -> bool:
        """Whether a resource that is there, and has these tags, is as supposed."""
        if self.any_of and self.any_of != ANY and tags.isdisjoint(self.any_of):
            return False
        return self.none_of != ANY and tags.isdisjoint(self.none_of)


def etag_of(body: bytes) -> str:
    return f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'


def tagged(request: Request, body: bytes, whole: bytes | None = None) -> HttpResponseBase:
    """The answer to a GET: the body, or 304. ``whole`` is what the body is a part of.

    Raises PreconditionFailed.
    """
    etag = etag_of(body if whole is None else whole)
    response = HttpResponse(body, MEDIA_TYPE, headers={"ETag": etag})
    answer = get_conditional_response(request._request, etag=etag, response=response) or response
    if answer.status_code == PRECONDITION_FAILED:
        raise PreconditionFailed
    return answer


@contextmanager
def guarded(request: Request, bodies: Callable[[], Iterable[bytes]]) -> Iterator[None]:
    """Undo the change that the block makes, if the resource was not as the request supposes.

    ``bodies`` locks the resource and gives its representations, one a language. What is refused
    without conditions is refused so with them. Raises PreconditionFailed, IfMatchInvalid.
    """
    conditions = _conditions(request)
    if conditions is None:
        yield
        return
    with transaction.atomic():
        tags = {etag_of(body) for body in bodies()}
        yield
        if not conditions.admit(tags):
            raise PreconditionFailed


def _conditions(request: Request) -> _Conditions | None:
    if_match = request.META.get("HTTP_IF_MATCH")
    if_none_match = request.META.get("HTTP_IF_NONE_MATCH")
    if if_match is None and if_none_match is None:
        return None
    any_of = parse_etags(if_match or "")
    if if_match is not None and not any_of:
        raise IfMatchInvalid
    none_of = parse_etags(if_none_match or "")
    return _Conditions(any_of, [tag.removeprefix("W/") for tag in none_of])
