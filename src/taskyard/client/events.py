"""Server-sent events, from bytes as they come (WHATWG HTML, 9.2)."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class ServerSentEvent:
    """One event: the last id that was said, and its data."""

    id: str
    data: str


class SSEDecoder:
    """``feed`` it the bytes of a stream; ``last_id`` is where to go on after a break."""

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self.retry_seconds = 2.0
        self._rest = b""
        self._id = last_id
        self._data: list[str] = []

    def feed(self, piece: bytes) -> Iterator[ServerSentEvent]:
        """The events that are complete now. Lines end in a line feed alone: that is what our
        server sends, and JSON may hold every other character that splits lines."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if told := self._line(line.decode().removesuffix("\r")):
                yield told

    def restart(self) -> None:
        """Forget what was half read: the connection broke."""
        self._rest, self._id, self._data = b"", self.last_id, []

    def _line(self, line: str) -> ServerSentEvent | None:
        if not line:
            # Only with its end is an event told; a broken one will be told again.
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
