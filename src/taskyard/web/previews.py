"""Which files the page shows, and how: small images, and the beginning of texts as escaped text.

Nothing else is shown: HTML, SVG and PDF can hold scripts.
"""

from dataclasses import dataclass

from taskyard.core.models import Task
from taskyard.files import records, storage
from taskyard.files.models import StoredFile

IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
LARGEST_IMAGE = 10 * 2**20
TEXT_BYTES = 64 * 2**10
_TEXTS = ("application/json", "application/xml", "image/svg+xml")


@dataclass(frozen=True)
class ShownFile:
    """A file of a task, ``input`` or ``output``, and the kind of its preview."""

    file: StoredFile
    role: str
    preview: str


def of_task(task: Task) -> list[ShownFile]:
    """The files of a task."""
    files = records.of_tasks([task])[task.pk]
    return [ShownFile(each.file, each.role, kind(each.file)) for each in files]


def kind(file: StoredFile) -> str:
    """``image``, ``text``, or "" if there is no preview."""
    if file.content_type in IMAGES:
        return "image" if file.size <= LARGEST_IMAGE else ""
    is_text = file.content_type.startswith("text/") or file.content_type in _TEXTS
    return "text" if is_text or file.content_type.endswith(("+json", "+xml")) else ""


def read_text(file: StoredFile) -> str:
    """The beginning of a text. Raises FileNotFoundError, StorageUnavailable."""
    with storage.read(file.key) as stream, storage.reporting():
        head = stream.read(TEXT_BYTES)
    # A character may be cut at the end.
    text = head.decode(errors="replace")
    return text.removesuffix("\N{REPLACEMENT CHARACTER}") if file.size > TEXT_BYTES else text


def read_image(file: StoredFile) -> bytes:
    """All bytes of an image. Raises FileNotFoundError, StorageUnavailable."""
    with storage.read(file.key) as stream, storage.reporting():
        return stream.read(LARGEST_IMAGE)
