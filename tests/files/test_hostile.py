"""Hostile names and hostile bytes: what users upload reaches no path and runs in no browser."""

import io
import zipfile
import zlib
from typing import Any
from urllib.parse import quote

import puremagic
import pytest

from taskyard.files.content import type_of
from taskyard.files.models import StoredFile
from taskyard.files.names import LONGEST
from tests.api_client import ApiClient
from tests.files.test_api import api, as_user, body_of, new_user, upload, user

__all__ = ["api", "as_user", "new_user", "user"]
pytestmark = pytest.mark.django_db
STORAGES = ("folder",)

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
HTML = b"<!doctype html><script>alert(1)</script>"
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
GIFAR = b"GIF89a/*\0\0*/=1;alert(1)//"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/etc/shadow", "shadow"),
        ("..", "file"),
        (".", "file"),
        ("", "file"),
        ("a\0b.txt", "ab.txt"),
        ("a\r\nSet-Cookie: x=1.txt", "aSet-Cookie_ x=1.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("\u2066a\u2069.txt", "a.txt"),
        ("con", "file_con"),
        ("NUL.txt", "file_NUL.txt"),
        ('a"b.txt', "a_b.txt"),
        ("отчёт.csv", "отчёт.csv"),
    ],
)
def test_a_name_is_cleaned(api: ApiClient, name: str, kept: str, folder: Any) -> None:
    answer = upload(api, name=quote(name, safe=""))
    assert answer.status_code == 201
    assert answer.json()["name"] == kept
    download = api.get(f"files/{answer.json()['id']}/content/")
    assert body_of(download)
    assert "\n" not in download.headers["Content-Disposition"]
    assert download.headers["Content-Disposition"].startswith("attachment; filename")
    (path,) = (path for path in folder.rglob("*") if path.is_file())
    assert kept not in str(path.relative_to(folder))


def test_a_name_of_a_thousand_characters(api: ApiClient) -> None:
    name = upload(api, name="x" * 1000 + ".csv").json()["name"]
    assert len(name) == LONGEST
    assert name.endswith(".csv")


def test_a_name_that_is_no_utf_8(api: ApiClient) -> None:
    assert upload(api, name="%ff%fe.txt").status_code == 201


def bomb() -> bytes:
    """A PNG of 1 GB of zeros in a few bytes, as far as its header says."""
    pixels = zlib.compress(b"\0" * 10_000_000, 9)
    return PNG + (30_000).to_bytes(4) * 2 + b"\x08\x06\0\0\0" + pixels


def archive() -> bytes:
    """A picture that is a ZIP with a page, too."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        zipped.writestr("index.html", HTML)
    return PNG + packed.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("page.html", HTML),
        ("page.png", HTML),
        ("page.txt", HTML),
        ("page", HTML),
        ("picture.svg", SVG),
        ("picture.png", SVG),
        ("script.js", b"alert(1)"),
        ("page.xhtml", b"<?xml version='1.0'?><html/>"),
        ("page.mht", b"MIME-Version: 1.0\nContent-Type: text/html\n\n" + HTML),
        ("polyglot.gif", GIFAR),
        ("polyglot.html", GIFAR),
        ("bomb.png", bomb()),
        ("archive.png", archive()),
        ("utf16.html", HTML.decode().encode("utf-16")),
        ("utf7.txt", b"+ADw-script+AD4-alert(1)+ADw-/script+AD4-"),
        ("empty.html", b""),
    ],
)
def test_no_file_runs_in_a_browser(api: ApiClient, name: str, data: bytes) -> None:
    file = api.ask("POST", f"files/?name={name}", data, "text/html").json()
    answer = api.get(f"files/{file['id']}/content/")
    assert body_of(answer) == data
    media_type = answer.headers["Content-Type"]
    assert media_type.partition(";")[0] not in (
        *("text/html", "text/xml", "application/xml", "application/xhtml+xml", "image/svg+xml"),
        *("text/javascript", "application/javascript", "multipart/related", "message/rfc822"),
    )
    assert not media_type.startswith("text/") or media_type.endswith("charset=utf-8")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"


def test_a_page_is_no_picture_for_a_task_type(api: ApiClient) -> None:
    for name, data in (("a.png", HTML), ("a.png", SVG), ("a.jpg", b"plain text")):
        upload(api, data, name=name)
    for content_type in StoredFile.objects.values_list("content_type", flat=True):
        assert content_type == "text/plain"


@pytest.mark.parametrize(
    "noise",
    [b"\x91\xfe\x07\x13" * 20, b"\0\x91\xfe\x07\x13" * 20],
    ids=["without zeros", "with zeros"],
)
def test_a_name_alone_makes_bytes_nothing_but_text(noise: bytes) -> None:
    extensions = {entry.extension for entry in puremagic.main.extension_only_array}
    assert ".pdf" in extensions
    for extension in {*extensions, ".png", ".jpg", ".zip", ".mp3", ".mp4", ".docx", ".svgz"}:
        guessed = type_of(f"a{extension}", noise)
        assert guessed == "application/octet-stream" or (
            b"\0" not in noise and guessed.startswith(("text/", "application/json"))
        ), extension
    # Tables in an older encoding are still tables, and the bytes still decide.
    assert type_of("a.csv", "имя,1\n".encode("cp1251")) == "text/csv"
    assert type_of("a.csv", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n") == "application/pdf"


def test_a_name_in_a_form_is_cleaned(api: ApiClient) -> None:
    form = (
        b'--e\r\nContent-Disposition: form-data; name=f; filename="../../\xd1\x8f.txt"\r\n\r\n'
        b"x\r\n--e--\r\n"
    )
    answer = api.ask("POST", "files/", form, "multipart/form-data; boundary=e")
    assert answer.json()["name"] == "я.txt"
