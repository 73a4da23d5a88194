"""uvicorn's HTTP protocol with limits on headers, on slow clients and on unread responses.

Requests that are refused here get a JSON body like all other errors.
"""

import asyncio
from http import HTTPStatus
from typing import Any, cast

from django.conf import settings
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Data is parsed in chunks of this size, so a limit is exceeded by one chunk at most.
CHUNK_BYTES = 16 * 1024
# A refused client may send for so long. Else it would get a TCP reset before it reads the response.
LINGER_SECONDS = 3.0


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
    """The request exceeds TASKYARD_HEADER_BYTES or TASKYARD_HEADER_COUNT."""


class Backlog:
    """Connections with response bytes that their clients have not read yet, the oldest first."""

    def __init__(self) -> None:
        self._unsent: dict[Protocol, int] = {}
        self._total = 0

    def update(self, connection: "Protocol", unsent: int) -> None:
        """Set a connection's unsent bytes; aborts the oldest connections over the budget of all."""
        self._total += unsent - self._unsent.get(connection, 0)
        self._unsent[connection] = unsent
        while self._total > settings.TASKYARD_UNREAD_BYTES and len(self._unsent) > 1:
            slowest = next(iter(self._unsent))
            self.remove(slowest)
            slowest.transport.abort()

    def remove(self, connection: "Protocol") -> None:
        self._total -= self._unsent.pop(connection, 0)


class Protocol(HttpToolsProtocol):
    """A connection. uvicorn's parser limits neither the size of headers nor their time."""

    backlog = Backlog()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_refused = False
        self._has_progressed = False
        self._headers_are_too_large = False
        # Bytes of a request's line and headers that have not ended yet.
        self._header_bytes = 0
        self._received = 0
        self._received_before = 0
        self._receive_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._lingering_transport = cast("asyncio.Transport", _LingeringTransport(self))
        self._start_receive_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_receive_timer()
        self._cancel_send_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if len(data) <= CHUNK_BYTES:
            self._parse(data)
            return
        view = memoryview(data)
        for start in range(0, len(data), CHUNK_BYTES):
            self._parse(bytes(view[start : start + CHUNK_BYTES]))

    def on_headers_complete(self) -> None:
        self._has_progressed = True
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if (
            size > settings.TASKYARD_HEADER_BYTES
            or len(self.headers) > settings.TASKYARD_HEADER_COUNT
        ):
            self._headers_are_too_large = True
            raise HeadersTooLarge
        super().on_headers_complete()
        # Trailers of a chunked body must not be added to the headers that were checked above.
        self.headers = []
        self.cycle.transport = self._lingering_transport

    def on_body(self, body: bytes) -> None:
        self._has_progressed = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._has_progressed = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(HEADERS_TOO_LARGE if self._headers_are_too_large else NOT_HTTP)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_send_timer()

    def resume_writing(self) -> None:
        self._cancel_send_timer()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()  # close() would wait until the client has read all
        else:
            super().timeout_keep_alive_handler()

    def close_after_response(self) -> None:
        """Close when the response has been sent; the rest of the request is discarded."""
        if self.cycle is not None and self.cycle.more_body:
            self._linger()
        else:
            self.transport.close()

    def _parse(self, chunk: bytes) -> None:
        if self._is_refused or self.transport.is_closing():
            return
        self._has_progressed = False
        super().data_received(chunk)
        self._received += len(chunk)
        self._header_bytes = 0 if self._has_progressed else self._header_bytes + len(chunk)
        if self._header_bytes > settings.TASKYARD_HEADER_BYTES:
            self._refuse(HEADERS_TOO_LARGE)
        elif self._is_receiving():
            self._start_receive_timer()
        else:
            self._cancel_receive_timer()

    def _refuse(self, response: bytes) -> None:
        if self._is_refused:
            return
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self.transport.write(response)
            self._linger()
        elif cycle.more_body and not cycle.response_started and not self.pipeline:
            cycle.disconnected = True
            cycle.message_event.set()
            self.transport.write(response)
            self._linger()
        else:
            # Earlier requests get their responses first; then the connection closes without one
            # for this request.
            self._is_refused = True
            cycle.keep_alive = False

    def _linger(self) -> None:
        self._is_refused = True
        self.pipeline.clear()
        self._cancel_receive_timer()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _is_receiving(self) -> bool:
        """Whether a request has begun and has not ended."""
        if self._header_bytes:
            return True
        return self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete

    def _start_receive_timer(self) -> None:
        if self._receive_timer is None:
            self._received_before = self._received
            self._receive_timer = self.loop.call_later(
                settings.TASKYARD_STALL_SECONDS, self._check_received
            )

    def _cancel_receive_timer(self) -> None:
        if self._receive_timer is not None:
            self._receive_timer.cancel()
            self._receive_timer = None

    def _check_received(self) -> None:
        """Refuse a request whose headers have not ended, or whose body comes too slowly."""
        self._receive_timer = None
        if self._is_refused or self.transport.is_closing():
            return
        received = self._received - self._received_before
        is_body = self.cycle is not None and self.cycle.more_body
        if is_body and (self.flow.read_paused or received >= _least_bytes()):
            self._start_receive_timer()
        else:
            self._refuse(TOO_SLOW)

    def _start_send_timer(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        self._send_timer = self.loop.call_later(
            settings.TASKYARD_STALL_SECONDS, self._check_sent, unsent
        )
        self.backlog.update(self, unsent)

    def _cancel_send_timer(self) -> None:
        self.backlog.remove(self)
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _check_sent(self, unsent_before: int) -> None:
        """Abort a connection whose client reads its response too slowly."""
        if unsent_before - self.transport.get_write_buffer_size() < _least_bytes():
            self.transport.abort()
        else:
            self._start_send_timer()


class _LingeringTransport:
    """The transport that uvicorn's response cycle writes to; its close lets a client finish."""

    def __init__(self, protocol: Protocol) -> None:
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing
        self.close = protocol.close_after_response
        self.abort = protocol.transport.abort


def _least_bytes() -> int:
    """How many bytes a client must send, or read, in TASKYARD_STALL_SECONDS."""
    return int(settings.TASKYARD_STALL_SECONDS * settings.TASKYARD_LEAST_RATE)
