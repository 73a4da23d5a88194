"""The HTTP protocol of the one port: what is no HTTP is refused in JSON like everything else.

What a client sends is bounded as it arrives, and what it is sent as it leaves: neither a request
without an end nor a client that reads nothing costs more than its share.
"""

import asyncio
from http import HTTPStatus
from typing import Any, cast

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.utils.http import parse_header_parameters
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# What arrives at once is parsed in pieces: one of them is all that a bound is missed by.
PIECE_BYTES = 16 * 1024
# How long a refused client may go on sending, so that it reads the refusal and not a reset.
LINGER_SECONDS = 3.0
LONGEST_CONTENT_TYPE = 256


def _refusal(status: HTTPStatus, code: str, detail: str) -> bytes:
    body = b'{"detail":"%b","code":"%b"}' % (detail.encode(), code.encode())
    return (
        b"HTTP/1.1 %d %b\r\n"
        b"content-type: application/json\r\n"
        b"content-length: %d\r\n"
        b"x-content-type-options: nosniff\r\n"
        b"connection: close\r\n"
        b"\r\n%b" % (status, status.phrase.encode(), len(body), body)
    )


NOT_HTTP = _refusal(HTTPStatus.BAD_REQUEST, "bad_request", "This is not an HTTP request.")
HEADERS_TOO_LARGE = _refusal(
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", "The headers are too large."
)
TOO_SLOW = _refusal(HTTPStatus.REQUEST_TIMEOUT, "too_slow", "The request came too slowly.")


class HeadersTooLarge(Exception):
    """The request's line and headers are more than TASKYARD_HEADER_BYTES, or too many."""


class Backlog:
    """Connections whose clients have not yet read what they were sent, the oldest first."""

    def __init__(self) -> None:
        self._unsent: dict[Protocol, int] = {}
        self._total = 0

    def note(self, connection: "Protocol", unsent: int) -> None:
        """Over the budget of all, those that have waited longest are cut."""
        self._total += unsent - self._unsent.get(connection, 0)
        self._unsent[connection] = unsent
        while self._total > settings.TASKYARD_UNREAD_BYTES and len(self._unsent) > 1:
            slowest = next(iter(self._unsent))
            self.forget(slowest)
            slowest.transport.abort()

    def forget(self, connection: "Protocol") -> None:
        self._total -= self._unsent.pop(connection, 0)


class Protocol(HttpToolsProtocol):
    """A connection. uvicorn's parser bounds neither headers nor the time that they take."""

    backlog = Backlog()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_refused = False
        self._has_moved = False
        self._headers_are_too_large = False
        # Bytes since the last that were part of a body or ended a head.
        self._undelivered = 0
        self._arrived = 0
        self._arrived_before = 0
        self._arrival: asyncio.TimerHandle | None = None
        self._departure: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._closing = cast("asyncio.Transport", _ClosesGently(self))
        self._watch_arrival()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching_arrival()
        self._stop_watching_departure()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if len(data) <= PIECE_BYTES:
            self._take(data)
            return
        view = memoryview(data)
        for start in range(0, len(data), PIECE_BYTES):
            self._take(bytes(view[start : start + PIECE_BYTES]))

    def on_headers_complete(self) -> None:
        self._has_moved = True
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if (
            size > settings.TASKYARD_HEADER_BYTES
            or len(self.headers) > settings.TASKYARD_HEADER_COUNT
        ):
            self._headers_are_too_large = True
            raise HeadersTooLarge
        super().on_headers_complete()
        # Fields behind a chunked body are no headers: what is checked is what is used.
        self.headers = []
        self.cycle.transport = self._closing

    def on_body(self, body: bytes) -> None:
        self._has_moved = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._has_moved = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(HEADERS_TOO_LARGE if self._headers_are_too_large else NOT_HTTP)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_departure()

    def resume_writing(self) -> None:
        self._stop_watching_departure()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # to close waits until all is read
        else:
            super().timeout_keep_alive_handler()

    def close_gently(self) -> None:
        """Close when the answer has been sent; what still comes of the request is thrown away."""
        if self.cycle is not None and self.cycle.more_body:
            self._linger()
        else:
            self.transport.close()

    def _take(self, piece: bytes) -> None:
        if self._is_refused or self.transport.is_closing():
            return
        self._has_moved = False
        super().data_received(piece)
        self._arrived += len(piece)
        self._undelivered = 0 if self._has_moved else self._undelivered + len(piece)
        if self._undelivered > settings.TASKYARD_HEADER_BYTES:
            self._refuse(HEADERS_TOO_LARGE)
        elif self._is_arriving():
            self._watch_arrival()
        else:
            self._stop_watching_arrival()

    def _refuse(self, answer: bytes) -> None:
        if self._is_refused:
            return
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self.transport.write(answer)
            self._linger()
        elif cycle.more_body and not cycle.response_started and not self.pipeline:
            cycle.disconnected = True
            cycle.message_event.set()
            self.transport.write(answer)
            self._linger()
        else:
            # Those before it are answered first; this one has no place among their answers.
            self._is_refused = True
            cycle.keep_alive = False

    def _linger(self) -> None:
        self._is_refused = True
        self.pipeline.clear()
        self._stop_watching_arrival()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _is_arriving(self) -> bool:
        if self._undelivered:
            return True
        return self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete

    def _watch_arrival(self) -> None:
        if self._arrival is None:
            self._arrived_before = self._arrived
            self._arrival = self.loop.call_later(
                settings.TASKYARD_STALL_SECONDS, self._check_arrival
            )

    def _stop_watching_arrival(self) -> None:
        if self._arrival is not None:
            self._arrival.cancel()
            self._arrival = None

    def _check_arrival(self) -> None:
        self._arrival = None
        if self._is_refused or self.transport.is_closing():
            return
        came = self._arrived - self._arrived_before
        is_body = self.cycle is not None and self.cycle.more_body
        if is_body and (self.flow.read_paused or came >= _least_bytes()):
            self._watch_arrival()
        else:
            self._refuse(TOO_SLOW)

    def _watch_departure(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        self._departure = self.loop.call_later(
            settings.TASKYARD_STALL_SECONDS, self._check_departure, unsent
        )
        self.backlog.note(self, unsent)

    def _stop_watching_departure(self) -> None:
        self.backlog.forget(self)
        if self._departure is not None:
            self._departure.cancel()
            self._departure = None

    def _check_departure(self, before: int) -> None:
        if before - self.transport.get_write_buffer_size() < _least_bytes():
            self.transport.abort()
        else:
            self._watch_departure()


class _ClosesGently:
    """The transport as the answer's writer knows it."""

    def __init__(self, protocol: Protocol) -> None:
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing
        self.close = protocol.close_gently
        self.abort = protocol.transport.abort


def _least_bytes() -> int:
    """What has to be sent, or read, from one look to the next."""
    return int(settings.TASKYARD_STALL_SECONDS * settings.TASKYARD_LEAST_RATE)


class Utf8Request(WSGIRequest):
    """Addresses and forms are UTF-8, whatever charset a request names.

    Django would decode them by any codec that Python has, also ``base64`` and ``utf-7``, and fail
    before its own handling of errors begins. And it would take a second for a long Content-Type.
    The host is checked once, however often it is asked for.
    """

    _host: str | None = None

    def get_host(self) -> str:
        if self._host is None:
            self._host = super().get_host()
        return self._host

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        given = meta.get("CONTENT_TYPE", "")
        if len(given) > LONGEST_CONTENT_TYPE:
            given = meta["CONTENT_TYPE"] = ""
        self.content_type, self.content_params = parse_header_parameters(given)
