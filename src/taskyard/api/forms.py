"""Forms as bodies, urlencoded or multipart: what browsers and test clients send by themselves."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

from django.core.exceptions import SuspiciousOperation
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.utils.translation import gettext_lazy as _

from taskyard.api.json import InvalidJson, Parser
from taskyard.catalog.schema import FieldError, InvalidInput

MOST_FIELDS = 100


class UrlEncoded(Parser):
    """A field given twice is a list, which no field of an account may be."""

    media_type = "application/x-www-form-urlencoded"

    def read(self, raw: bytes, context: Mapping[str, Any]) -> Any:
        try:
            fields = parse_qsl(
                raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS
            )
        except UnicodeDecodeError:
            raise InvalidJson(_("The form is not UTF-8.")) from None
        except ValueError:
            raise _unreadable() from None
        return _plain(fields)


class Multipart(Parser):
    """Its fields; a file is thrown away."""

    media_type = "multipart/form-data"

    def read(self, raw: bytes, context: Mapping[str, Any]) -> Any:
        meta = {**context["request"].META, "CONTENT_LENGTH": len(raw)}
        try:
            fields, _files = MultiPartParser(meta, BytesIO(raw), [], "utf-8").parse()
        except (MultiPartParserError, SuspiciousOperation):
            raise _unreadable() from None
        return _plain([(name, text) for name, texts in fields.lists() for text in texts])


def _unreadable() -> InvalidJson:
    return InvalidJson(_("The form cannot be read."))


def _plain(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in fields:
        if "\0" in name or "\0" in text:
            message = "Null characters are not allowed."
            field_error = FieldError(
                (name.replace("\0", ""),), "null_characters_not_allowed", message
            )
            raise InvalidInput([field_error])
        found[name] = [found[name], text] if name in found else text
    return found
