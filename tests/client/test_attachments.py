"""The command line finds file inputs in a schema, and refuses only what the server would."""

import gettext
from pathlib import Path
from typing import Annotated, Any

import pytest
from django.utils import translation

from taskyard.catalog.files import Accepts, InputFile
from taskyard.catalog.schema import Signature
from taskyard.client import i18n
from taskyard.client.commands import attachments
from taskyard.client.commands.attachments import FileField
from taskyard.client.commands.fields import BadField, FilePath, parse_fields
from taskyard.core import messages
from taskyard.files.content import type_of

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 40
FILES = {
    "photo.png": PNG,
    "photo.txt": PNG,
    "a.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF\0" + b"\0" * 40,
    "a.gif": b"GIF89a" + b"\0" * 40,
    "a.pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "no.pdf": b"\x91\xfe\x07\x13" * 20,
    "old.csv": "имя,1\n".encode("cp1251"),
    "a.csv": b"a,b\n1,2\n",
    "a.mp3": "текст".encode(),
    "cut.txt": "я".encode() * 2048 + b"\xd1",
    "a.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "a.json": b"{}",
    "empty": b"",
    "bytes": bytes(range(256)),
}
PATTERNS = ["image/*", "image/png", "application/pdf", "text/*", "text/csv", "audio/*", "*/*"]


def handler(
    photo: Annotated[InputFile, Accepts("image/*", max_bytes=60)],
    tables: Annotated[list[Annotated[InputFile, Accepts("text/*")]], "tables"],
    cover: InputFile | None = None,
    width: int = 100,
) -> None:
    """Takes files of every kind."""


SCHEMA = Signature(handler).input_schema


def test_file_inputs_are_found_in_the_schema() -> None:
    assert attachments.file_fields(SCHEMA) == {
        "photo": FileField(False, ("image/*",), 60),
        "tables": FileField(True, ("text/*",), None),
        "cover": FileField(False, (), None),
    }


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("name", FILES)
def test_only_what_the_server_refuses_is_refused_here(
    name: str, pattern: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_bytes(FILES[name])
    actual = type_of(name, FILES[name])
    error = attachments.check(
        {"it": FileField(False, (pattern,), None)}, {"it": [FilePath(str(file))]}
    )
    if Accepts(pattern).matches(actual):
        assert error is None
    elif error is not None:
        (only,) = error.errors
        assert (only.pointer, only.code) == ("/input_data/it", "file_type_refused")
        assert only.detail == f"The file is {actual}; one of these is expected: {pattern}."


def test_common_mistakes_are_refused_before_the_upload(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"no image")
    (tmp_path / "large.png").write_bytes(PNG * 2)
    fields = attachments.file_fields(SCHEMA)
    files = {name: [FilePath(str(tmp_path / name))] for name in ("notes.txt", "large.png")}
    for name, code in (("notes.txt", "file_type_refused"), ("large.png", "file_too_large")):
        error = attachments.check(fields, {"photo": files[name]})
        assert error is not None
        assert [(each.pointer, each.code) for each in error.errors] == [("/input_data/photo", code)]
    in_list = attachments.check(fields, {"tables": files["notes.txt"] + files["large.png"]})
    assert in_list is not None
    assert [each.pointer for each in in_list.errors] == ["/input_data/tables/1"]
    with pytest.raises(BadField, match="one file"):
        attachments.check(fields, {"photo": files["notes.txt"] * 2})
    with pytest.raises(BadField, match="photo=@FILE"):
        attachments.check(fields, {"photo": "photo.png"})


def test_fields_that_take_files_may_be_repeated(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    words = ["photo=@a.png", "tables=@b", "tables=@-", f"width=@{tmp_path / 'text'}"]
    fields = attachments.file_fields(SCHEMA)
    data = parse_fields(words, None, fields)
    assert data == {
        "photo": [FilePath("a.png")],
        "tables": [FilePath("b"), FilePath("-")],
        "width": "text",
    }
    ids = {FilePath("a.png"): 5, FilePath("b"): 6, FilePath("-"): 7}
    replaced: dict[str, Any] = attachments.with_ids(fields, data, ids)
    assert replaced == {"photo": 5, "tables": [6, 7], "width": "text"}


@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_the_texts_are_those_of_the_server(language: str) -> None:
    folder = Path(i18n.__file__).parent / "locale"
    ours = gettext.translation(i18n.DOMAIN, folder, [language])
    with translation.override(language):
        for code, text in attachments.MESSAGES.items():
            assert ours.gettext(text) == str(messages.MESSAGES[code])
