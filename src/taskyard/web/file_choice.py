"""The files that the form of a new task offers, and those that are chosen in it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from taskyard.catalog.files import LARGEST_ID
from taskyard.core.types import UserId
from taskyard.files import records
from taskyard.files.models import StoredFile
from taskyard.web.fields import Field
from taskyard.web.schema_form import non_empty_lines

MOST_OFFERED = 50
# So many of the latest files are looked at for those that a field takes.
MOST_LOOKED_AT = 500


@dataclass(frozen=True)
class OwnFiles:
    """Files of the user: those that the form names, by their ids, and the latest."""

    by_id: Mapping[int, StoredFile]
    latest: tuple[StoredFile, ...]

    def chosen(self, text: str) -> list[tuple[str, StoredFile | None]]:
        """The ids in the text of a field, each with its file if the user has it."""
        ids = [line.strip() for line in non_empty_lines(text)]
        return [(id_, self.by_id.get(_number(id_))) for id_ in ids]

    def offered(self, field: Field) -> list[StoredFile]:
        """The latest files that the field takes."""
        rules = field.accepted
        fitting = (
            file
            for file in self.latest
            if rules.matches(file.content_type)
            and (rules.max_bytes is None or file.size <= rules.max_bytes)
        )
        return [file for file, _ in zip(fitting, range(MOST_OFFERED), strict=False)]


def of_form(owner_id: UserId, texts: Iterable[str]) -> OwnFiles:
    """The files for a form whose fields for files have these texts."""
    ids = {_number(line.strip()) for text in texts for line in non_empty_lines(text)}
    own = records.owned_by(owner_id)
    return OwnFiles(own.in_bulk(ids), tuple(own.order_by("-pk")[:MOST_LOOKED_AT]))


def _number(text: str) -> int:
    """The id in a text; 0, which no file has, if there is none."""
    is_id = text.isascii() and text.isdecimal() and len(text) <= 19
    return int(text) if is_id and int(text) <= LARGEST_ID else 0
