"""The system checks of files: one for each mistake in the choice of a storage."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage

from taskyard.files import checks
from tests.configured import configure
from tests.files.conftest import using
from tests.files.storages import S3, Stored
from tests.servers import ROOT

pytestmark = pytest.mark.django_db
PAGE = ROOT / "docs/reference/checks.md"
FOLDER = "django.core.files.storage.FileSystemStorage"


def only(code: str) -> CheckMessage:
    """The only message, which has this code and a hint."""
    (message,) = checks.check_storage(None)
    assert message.id == f"taskyard_files.{code}"
    assert message.hint
    return message


def test_each_kind_of_storage_is_fine(stored: Stored) -> None:
    assert checks.check_storage(None) == []


def test_a_storage_is_chosen(folder: Path, settings: Any) -> None:
    settings.STORAGES = {
        name: entry for name, entry in settings.STORAGES.items() if name != "taskyard"
    }
    only("E001")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"BACKEND": "storages.backends.nowhere.Storage"}, "nowhere"),
        ({"BACKEND": FOLDER, "OPTIONS": {"folder": "/srv"}}, "folder"),
        ({"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": {"bucket": "a"}}, "bucket"),
    ],
)
def test_a_storage_can_be_used(folder: Path, entry: dict[str, Any], said: str) -> None:
    with using(entry):
        assert said in only("E002").msg


@pytest.mark.parametrize("setting", ["MEDIA_ROOT", "STATIC_ROOT", "STATICFILES_DIRS"])
def test_no_server_shows_the_folder(folder: Path, settings: Any, setting: str) -> None:
    outer = str(folder.parent)
    setattr(settings, setting, [("files", outer)] if setting == "STATICFILES_DIRS" else outer)
    assert setting in only("E003").msg


def test_a_folder_without_a_location_is_not_the_one_of_media(folder: Path, settings: Any) -> None:
    with using({"BACKEND": FOLDER}):
        only("E003")
        settings.MEDIA_ROOT = str(folder)
        assert "MEDIA_ROOT" in only("E003").msg


def test_the_folder_can_be_written(folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file where the folder is expected")
    only("W001")


@pytest.mark.parametrize("option", [{"default_acl": "public-read"}, {"querystring_auth": False}])
def test_objects_are_private(folder: Path, s3_server: str, option: dict[str, Any]) -> None:
    entry = S3(s3_server).entry
    with using({**entry, "OPTIONS": entry["OPTIONS"] | option}):
        only("E004")


def test_files_go_past_the_web_only_with_s3(folder: Path, settings: Any) -> None:
    configure(settings, FILES_DIRECT=True)
    only("W002")


def test_the_reference_lists_each_code(folder: Path) -> None:
    codes = set(re.findall(r"taskyard_files\.[EW][0-9]{3}", Path(checks.__file__).read_text()))
    assert codes == set(re.findall(r"taskyard_files\.[EW][0-9]{3}", PAGE.read_text()))
