"""Read a form (multipart/form-data) with one file in pieces, with bounds on all but the file."""

from collections.abc import Callable
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from taskyard.files.errors import FormInvalid

MOST_PARTS = 20
# All bytes of the form that are not the file's.
MOST_OVERHEAD = 64 * 1024
MOST_HEADERS = 8
LONGEST_HEADER = 4096
LONGEST_BOUNDARY = 70  # RFC 2046, 5.1.1


class Form:
    """Give the file's name and then its bytes to callbacks. Other fields are ignored.

    The methods raise FormInvalid, and what the callbacks raise.
    """

    def __init__(
        self, boundary: bytes, on_name: Callable[[str], None], on_data: Callable[[bytes], None]
    ) -> None:
        self._on_name = on_name
        self._on_data = on_data
        self._has_file = False
        self._is_in_file = False
        self._has_ended = False
        self._parts = 0
        self._headers: dict[bytes, bytes] = {}
        self._field = b""
        self._value = b""
        self._overhead = 0
        callbacks: Any = {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_end": self._end,
        }
        self._parser = MultipartParser(
            boundary,
            callbacks,
            max_header_count=MOST_HEADERS,
            max_header_size=LONGEST_HEADER,
        )

    def write(self, data: bytes) -> None:
        self._overhead += len(data)
        try:
            self._parser.write(data)
        except FormParserError:
            raise FormInvalid("form_unreadable") from None
        if self._overhead > MOST_OVERHEAD:
            raise FormInvalid("form_too_large")

    def finish(self) -> None:
        """The body is whole."""
        if not self._has_ended:
            raise FormInvalid("form_cut")
        if not self._has_file:
            raise FormInvalid("form_without_file")

    def _part_begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise FormInvalid("form_too_large")
        self._headers, self._is_in_file = {}, False

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _headers_finished(self) -> None:
        disposition = self._headers.get(b"content-disposition", b"").decode("latin-1")
        _, options = parse_options_header(disposition)
        name = options.get(b"filename")
        if name is None:
            return
        if self._has_file:
            raise FormInvalid("form_several_files")
        self._has_file = self._is_in_file = True
        self._on_name(name.decode(errors="replace"))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_in_file:
            self._overhead -= end - start
            self._on_data(data[start:end])

    def _end(self) -> None:
        self._has_ended = True


def boundary_of(content_type: str) -> bytes | None:
    """The boundary of a form's Content-Type; None if the body is no form.

    Raises FormInvalid for a form without a valid boundary.
    """
    media_type, options = parse_options_header(content_type)
    if media_type != b"multipart/form-data":
        return None
    boundary = options.get(b"boundary")
    if not boundary or len(boundary) > LONGEST_BOUNDARY:
        raise FormInvalid("form_unreadable")
    return boundary
