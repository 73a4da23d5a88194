"""The media type of a file, by its first bytes and its name. It is a guess and never trusted."""

import mimetypes

import puremagic

OCTETS = "application/octet-stream"
TEXT = "text/plain"


def type_of(name: str, head: bytes) -> str:
    """The media type; application/octet-stream if it is not known.

    The name decides between types that fit the bytes. Alone it makes a text a table or a page; it
    never makes bytes an image, a PDF or an archive.
    """
    by_name = mimetypes.guess_type(name)[0] or ""
    if _is_text(head):
        return by_name if _is_textual(by_name) else TEXT
    if by_bytes := _by_bytes(name, head):
        return by_bytes
    # Perhaps a text in an older encoding.
    return by_name if b"\0" not in head and by_name.startswith("text/") else OCTETS


def _by_bytes(name: str, head: bytes) -> str | None:
    """The type that fits the bytes, and of several the one that fits the name; None: none fits."""
    try:
        best = puremagic.magic_string(head, name)[0]
    except puremagic.PureError:
        return None
    # A match without bytes is by the name alone.
    return (best.mime_type or OCTETS) if best.byte_match else None


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # A character may be cut at the end of the head.
        return error.start >= len(head) - 3 and error.reason == "unexpected end of data"
    return True


def _is_textual(media_type: str) -> bool:
    return (
        media_type.startswith("text/")
        or media_type in ("application/json", "application/xml")
        or media_type.endswith(("+json", "+xml"))
    )
