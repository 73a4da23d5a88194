"""The request class of our own project."""

from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.utils.http import parse_header_parameters

LONGEST_CONTENT_TYPE = 256


class Utf8Request(WSGIRequest):
    """Decodes paths and forms as UTF-8 and ignores the charset that a request names.

    Django would use any codec of Python, also ``base64`` and ``utf-7``, and could fail before its
    error handling begins. A long Content-Type would take Django a second. ``get_host`` checks the
    host once and caches it.
    """

    _host: str | None = None

    def get_host(self) -> str:
        if self._host is None:
            self._host = super().get_host()
        return self._host

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        content_type = meta.get("CONTENT_TYPE", "")
        if len(content_type) > LONGEST_CONTENT_TYPE:
            content_type = meta["CONTENT_TYPE"] = ""
        self.content_type, self.content_params = parse_header_parameters(content_type)
