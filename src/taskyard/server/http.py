"""The HTTP protocol of the one port: what is no HTTP is refused in JSON like everything else."""

from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.utils.http import parse_header_parameters
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_REFUSAL = b'{"detail":"This is not an HTTP request.","code":"bad_request"}'
_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\n"
    b"content-type: application/json\r\n"
    b"content-length: %d\r\n"
    b"x-content-type-options: nosniff\r\n"
    b"connection: close\r\n"
    b"\r\n%b" % (len(_REFUSAL), _REFUSAL)
)


class Protocol(HttpToolsProtocol):
    def send_400_response(self, msg: str) -> None:
        self.transport.write(_ANSWER)
        self.transport.close()


class Utf8Request(WSGIRequest):
    """Addresses and forms are UTF-8, whatever charset a request names.

    Django would decode them by any codec that Python has, also ``base64`` and ``utf-7``, and fail
    before its own handling of errors begins.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        self.content_type, self.content_params = parse_header_parameters(
            meta.get("CONTENT_TYPE", "")
        )
