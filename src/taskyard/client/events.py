"""Decode server-sent events from chunks of bytes (WHATWG HTML, 9.2)."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class ServerSentEvent:
    """One event: the last id of the stream, and the data."""

    id: str
    data: str


class SSEDecoder:
    """Decodes one stream. ``last_id`` is the Last-Event-ID to resume after a disconnect."""

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self.retry_seconds = 2.0
        self._rest = b""
        self._id = last_id
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        """Decode the next bytes and yield the events that are complete.

        Only a line feed ends a line: JSON may contain the other characters that ``splitlines``
        splits at.
        """
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            if event := self._parse_line(line.decode().removesuffix("\r")):
                yield event

    def reset(self) -> None:
        """Drop the incomplete event after a disconnect."""
        self._rest, self._id, self._data = b"", self.last_id, []

    def _parse_line(self, line: str) -> ServerSentEvent | None:
        if not line:
            # An empty line ends an event. Until then `last_id` stays, so that the server sends an
            # incomplete event again.
            self.last_id = self._id
            data, self._data = self._data, []
            return ServerSentEvent(self.last_id, "\n".join(data)) if data else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "id":
            self._id = value
        elif name == "retry" and value.isdecimal():
            self.retry_seconds = int(value) / 1000
        return None
