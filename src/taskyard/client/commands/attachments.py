"""Files in the fields of `submit`: found by the task type's schema, checked and uploaded."""

import mimetypes
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from taskyard.client.commands.fields import BadField, FilePath, standard_input
from taskyard.client.commands.transfers import transfer_bar
from taskyard.client.errors import FieldError, InvalidRequest, json_pointer
from taskyard.client.i18n import gettext as _

if TYPE_CHECKING:
    from taskyard.client import Client, File

FORMAT = "taskyard-file"
HEAD_BYTES = 4096
# The same codes and texts as on the server; a test compares them.
MESSAGES = {
    "file_type_refused": _("The file is %(actual)s; one of these is expected: %(accepted)s."),
    "file_too_large": _("The file has more than %(limit)s bytes."),
}
# Types that the first bytes prove. The server knows more.
SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF89a": "image/gif",
    b"%PDF-": "application/pdf",
}
# A text file never has these types, unless it is an SVG.
NEVER_TEXT = ("image/*", "audio/*", "video/*", "font/*", "application/pdf")


@dataclass(frozen=True)
class FileField:
    """An input that takes files: one or a list of them."""

    is_list: bool
    content_types: tuple[str, ...]
    max_bytes: int | None


def file_fields(schema: Mapping[str, Any]) -> dict[str, FileField]:
    """The inputs of a task type that take files."""
    properties = schema.get("properties", {}).items()
    return {name: field for name, value in properties if (field := _file_field(value))}


def check(fields: Mapping[str, FileField], data: Mapping[str, Any]) -> InvalidRequest | None:
    """The error for files of which the server would refuse the size or the type.

    Raises BadField for several files where one is expected, and for a text; OSError.
    """
    errors = []
    for name, field in fields.items():
        if isinstance(data.get(name), str):
            text = _("%(name)s=… is text; %(name)s=@FILE uploads a file")
            raise BadField(text % {"name": name})
        paths = _paths(data.get(name))
        if len(paths) > 1 and not field.is_list:
            raise BadField(_("%(name)s: one file is expected") % {"name": name})
        for index, path in enumerate(paths):
            if path.is_stdin:
                continue
            place = ("input_data", name, index) if field.is_list else ("input_data", name)
            if error := _error_of(path.path, field):
                code, values = error
                pointer = json_pointer(place)
                errors.append(FieldError(pointer, code, MESSAGES[code] % values))
    if errors:
        return InvalidRequest(400, "invalid", _("The request is not valid."), errors)
    return None


def with_ids(
    fields: Mapping[str, FileField], data: Mapping[str, Any], ids: Mapping[FilePath, int]
) -> dict[str, Any]:
    """The input with ids in place of the files; an id that is not known yet is 1."""
    replaced = dict(data)
    for name, field in fields.items():
        if paths := _paths(data.get(name)):
            found = [ids.get(path, 1) for path in paths]
            replaced[name] = found if field.is_list else found[0]
    return replaced


@contextmanager
def uploaded(
    client: "Client", fields: Mapping[str, FileField], data: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Upload the files of an input. Yields the input with ids.

    If the block raises an error of the server, the uploads are deleted.
    """
    from taskyard.client import RequestRejected, TaskyardError

    files: dict[FilePath, File] = {}
    try:
        for name in fields:
            for path in _paths(data.get(name)):
                if path not in files:
                    files[path] = upload(client, path)
        yield with_ids(fields, data, {path: file.id for path, file in files.items()})
    except RequestRejected:
        for file in files.values():
            try:
                file.delete()
            except TaskyardError:
                break  # the server deletes an unused file after a day
        raise


def upload(client: "Client", path: FilePath, name: str | None = None) -> "File":
    """Upload a file, or stdin for `-`, with a bar on a terminal."""
    if path.is_stdin:
        with transfer_bar(name or "-") as progress:
            return client.upload(standard_input(), name or "stdin", progress=progress)
    with transfer_bar(path.path) as progress:
        return client.upload(path.path, name, progress=progress)


def _file_field(schema: Mapping[str, Any], *, is_list: bool = False) -> FileField | None:
    if schema.get("format") == FORMAT:
        types = tuple(schema.get("x-accept", ()))
        return FileField(is_list, types, schema.get("x-max-bytes"))
    if schema.get("type") == "array" and not is_list and isinstance(schema.get("items"), dict):
        return _file_field(schema["items"], is_list=True)
    members = [member for member in schema.get("anyOf", ()) if member.get("type") != "null"]
    return _file_field(members[0], is_list=is_list) if len(members) == 1 else None


def _paths(value: object) -> Sequence[FilePath]:
    """The files of an input; an input is either files or something else."""
    if not isinstance(value, list):
        return []
    return [each for each in value if isinstance(each, FilePath)]


def _error_of(path: str, field: FileField) -> tuple[str, dict[str, object]] | None:
    """A code of MESSAGES and its values if the server is sure to refuse the file."""
    with open(path, "rb") as file:
        if field.max_bytes is not None and os.fstat(file.fileno()).st_size > field.max_bytes:
            return "file_too_large", {"limit": field.max_bytes}
        actual = _refused_type(path, file.read(HEAD_BYTES), field.content_types)
    if actual is None:
        return None
    return "file_type_refused", {"actual": actual, "accepted": ", ".join(field.content_types)}


def _refused_type(name: str, head: bytes, accepted: Sequence[str]) -> str | None:
    """The type of the file if it is certain and not accepted."""
    if not accepted:
        return None
    for signature, content_type in SIGNATURES.items():
        if head.startswith(signature):
            fits = any(fnmatchcase(content_type, pattern) for pattern in accepted)
            return None if fits else content_type
    by_name = mimetypes.guess_type(name)[0] or ""
    if not _is_text(head) or by_name == "image/svg+xml":
        return None
    if any(not any(fnmatchcase(pattern, never) for never in NEVER_TEXT) for pattern in accepted):
        return None
    is_textual = by_name.startswith("text/") or by_name.endswith(("/json", "/xml", "+json", "+xml"))
    return by_name if is_textual else "text/plain"


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # A character may be cut at the end of the head.
        return error.start >= len(head) - 3 and error.reason == "unexpected end of data"
    return True
