"""Parsers for urlencoded and multipart forms."""

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
    """Parses an urlencoded form. A repeated field becomes a list, which no field accepts."""

    media_type = "application/x-www-form-urlencoded"

    def decode(self, raw: bytes, context: Mapping[str, Any]) -> Any:
        try:
            fields = parse_qsl(
                raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS
            )
        except UnicodeDecodeError:
            raise InvalidJson(_("The form is not UTF-8.")) from None
        except ValueError:
            raise _unreadable() from None
        return _fields_as_dict(fields)


class Multipart(Parser):
    """Parses the fields of a multipart form and ignores its files."""

    media_type = "multipart/form-data"

    def decode(self, raw: bytes, context: Mapping[str, Any]) -> Any:
        meta = {**context["request"].META, "CONTENT_LENGTH": len(raw)}
        try:
            fields, _files = MultiPartParser(meta, BytesIO(raw), [], "utf-8").parse()
        except (MultiPartParserError, SuspiciousOperation):
            raise _unreadable() from None
        return _fields_as_dict([(name, text) for name, texts in fields.lists() for text in texts])


def _unreadable() -> InvalidJson:
    return InvalidJson(_("The form cannot be read."))


def _fields_as_dict(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises InvalidInput for U+0000."""
    values: dict[str, Any] = {}
    for name, text in fields:
        if "\0" in name or "\0" in text:
            message = "Null characters are not allowed."
            field_error = FieldError(
                (name.replace("\0", ""),), "null_characters_not_allowed", message
            )
            raise InvalidInput([field_error])
        values[name] = [values[name], text] if name in values else text
    return values
