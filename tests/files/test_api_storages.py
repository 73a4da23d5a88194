"""The API of files on each kind of storage."""

import pytest

from taskyard.files import storage
from tests.api_client import ApiClient
from tests.files.test_api import CSV, api, as_user, begin, body_of, new_user, patch, upload, user

__all__ = ["api", "as_user", "new_user", "user"]
pytestmark = pytest.mark.django_db


def test_bytes_go_up_and_come_back(api: ApiClient) -> None:
    file = upload(api).json()
    address = f"files/{file['id']}/content/"
    assert body_of(api.get(address)) == CSV
    assert body_of(api.get(address, Range="bytes=2-4")) == CSV[2:5]
    assert body_of(api.get(address, Range="bytes=-3")) == CSV[-3:]
    assert api.ask("DELETE", f"files/{file['id']}/").status_code == 204
    assert api.get(address).status_code == 404


def test_outside_a_folder_an_upload_begins_again(api: ApiClient) -> None:
    file_id = begin(api, 10, b"01234").json()["id"]
    state = api.ask("HEAD", f"files/{file_id}/upload/")
    offset = 5 if storage.folder() else 0
    assert state.headers["Upload-Offset"] == str(offset)
    last = patch(api, file_id, b"0123456789"[offset:], offset, last=True)
    assert last.status_code == 200
    assert body_of(api.get(f"files/{file_id}/content/")) == b"0123456789"
