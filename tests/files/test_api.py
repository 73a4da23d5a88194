"""The API of files, called without an ASGI server: the view's own thread reads and sends bytes."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest
from django.urls import resolve

from taskyard.accounts.models import User
from taskyard.files import records, usage
from taskyard.files.models import FileUsage, StoredFile
from tests.api.conftest import api, as_user, new_user, no_throttles, nobody, other, user
from tests.api_client import ApiClient
from tests.configured import configure

__all__ = ["api", "as_user", "new_user", "no_throttles", "nobody", "other", "user"]
pytestmark = pytest.mark.django_db

STORAGES = ("folder",)
CSV = b"a,b\n1,2\n"
PARTIAL = "application/partial-upload"


def upload(api: ApiClient, data: bytes = CSV, name: str = "data.csv", **headers: str) -> Any:
    return api.ask("POST", f"files/?name={name}", data, "text/csv", **headers)


def body_of(response: Any) -> bytes:
    return b"".join(response) if response.streaming else bytes(response.content)


def patch(api: ApiClient, file_id: int, data: bytes, offset: int, *, last: bool) -> Any:
    return api.ask(
        "PATCH",
        f"files/{file_id}/upload/",
        data,
        PARTIAL,
        Upload_Offset=str(offset),
        Upload_Complete="?1" if last else "?0",
    )


def begin(api: ApiClient, size: int, data: bytes = b"") -> Any:
    return upload(api, data, Upload_Complete="?0", Upload_Length=str(size))


def test_an_upload_is_answered_with_the_file(api: ApiClient) -> None:
    answer = upload(api)
    assert answer.status_code == 201
    file = answer.json()
    assert answer.headers["Location"].endswith(f"/files/{file['id']}/")
    assert file["name"] == "data.csv"
    assert file["content_type"] == "text/csv"
    assert file["size"] == len(CSV)
    assert file["sha256"] == hashlib.sha256(CSV).hexdigest()
    assert file["expires_at"] > file["created_at"]
    assert api.get(f"files/{file['id']}/").json() == file
    assert api.get("files/").json()["results"] == [file]


def test_the_bytes_come_back_as_an_attachment(api: ApiClient) -> None:
    file = upload(api).json()
    answer = api.get(f"files/{file['id']}/content/")
    assert answer.status_code == 200
    assert body_of(answer) == CSV
    assert answer.headers["Content-Disposition"] == 'attachment; filename="data.csv"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["ETag"] == f'"{file["sha256"]}"'
    assert answer.headers["Content-Length"] == str(len(CSV))
    head = api.ask("HEAD", f"files/{file['id']}/content/")
    assert head.headers["Content-Length"] == str(len(CSV))
    assert body_of(head) == b""


@pytest.mark.parametrize(
    ("asked", "status", "body", "content_range"),
    [
        ("bytes=0-", 206, CSV, "bytes 0-7/8"),
        ("bytes=2-4", 206, CSV[2:5], "bytes 2-4/8"),
        ("bytes=-3", 206, CSV[-3:], "bytes 5-7/8"),
        ("bytes=-99999999999999999999", 206, CSV, "bytes 0-7/8"),
        ("bytes=7-99999999999999999999", 206, CSV[7:], "bytes 7-7/8"),
        ("bytes=8-", 416, b"", "bytes */8"),
        ("bytes=99999999999999999999-", 416, b"", "bytes */8"),
        ("bytes=-0", 416, b"", "bytes */8"),
        # Several ranges, and what is no range, are the whole file.
        ("bytes=0-1,3-4", 200, CSV, None),
        ("bytes=" + ",".join(["0-0"] * 200), 200, CSV, None),
        ("bytes=4-2", 200, CSV, None),
        ("bytes=-", 200, CSV, None),
        ("bytes=--5", 200, CSV, None),
        ("bytes=0x1-2", 200, CSV, None),
        (f"bytes={'9' * 101}-", 200, CSV, None),
        ("lines=0-1", 200, CSV, None),
    ],
)
def test_a_range(
    api: ApiClient, asked: str, status: int, body: bytes, content_range: str | None
) -> None:
    file = upload(api).json()
    answer = api.get(f"files/{file['id']}/content/", Range=asked)
    assert answer.status_code == status
    assert body_of(answer) == body
    assert answer.headers.get("Content-Range") == content_range


def test_a_range_of_an_empty_file_is_not_satisfiable(api: ApiClient) -> None:
    file = upload(api, b"").json()
    assert file["size"] == 0
    whole = api.get(f"files/{file['id']}/content/")
    assert (whole.status_code, body_of(whole)) == (200, b"")
    assert api.get(f"files/{file['id']}/content/", Range="bytes=0-").status_code == 416


def test_if_range_and_if_none_match(api: ApiClient) -> None:
    file = upload(api).json()
    address, etag = f"files/{file['id']}/content/", f'"{file["sha256"]}"'
    assert body_of(api.get(address, Range="bytes=0-1", If_Range=etag)) == CSV[:2]
    assert body_of(api.get(address, Range="bytes=0-1", If_Range='"other"')) == CSV
    assert api.get(address, If_None_Match=etag).status_code == 304
    assert body_of(api.get(address, If_None_Match='"other"')) == CSV
    refused = api.get(address, If_Match='"other"')
    assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")


def test_another_user_sees_no_sign_of_a_file(api: ApiClient, other: ApiClient) -> None:
    file_id = upload(api).json()["id"]
    started = begin(api, 10).json()["id"]
    assert other.get("files/").json()["count"] == 0
    requests = [
        other.get(f"files/{file_id}/"),
        other.get(f"files/{file_id}/content/"),
        other.ask("HEAD", f"files/{file_id}/content/"),
        other.ask("DELETE", f"files/{file_id}/"),
        other.ask("HEAD", f"files/{started}/upload/"),
        patch(other, started, b"12345", 0, last=False),
        other.ask("DELETE", f"files/{started}/upload/"),
        other.get("files/99999999/"),
        other.get("files/9999999999999999999/"),
    ]
    assert {answer.status_code for answer in requests} == {404}
    assert api.get(f"files/{file_id}/").status_code == 200


def test_without_a_token(nobody: ApiClient) -> None:
    assert upload(nobody).status_code == 401
    assert nobody.get("files/").status_code == 401
    assert nobody.get("files/1/content/").status_code == 401
    assert not StoredFile.objects.exists()


def test_a_delete(api: ApiClient, user: User, folder: Any) -> None:
    file_id = upload(api).json()["id"]
    assert api.ask("DELETE", f"files/{file_id}/").status_code == 204
    assert api.get(f"files/{file_id}/").status_code == 404
    assert usage.of(user.pk) == 0
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_a_form_with_a_file(api: ApiClient) -> None:
    form = (
        b"--edge\r\nContent-Disposition: form-data; name=note\r\n\r\nhello\r\n"
        b'--edge\r\nContent-Disposition: form-data; name=file; filename="r.csv"\r\n'
        b"Content-Type: text/html\r\n\r\n" + CSV + b"\r\n--edge--\r\n"
    )
    answer = api.ask("POST", "files/", form, "multipart/form-data; boundary=edge")
    assert answer.status_code == 201, answer.json()
    assert answer.json()["name"] == "r.csv"
    assert answer.json()["content_type"] == "text/csv"
    assert answer.json()["size"] == len(CSV)
    named = api.ask("POST", "files/?name=n.csv", form, "multipart/form-data; boundary=edge")
    assert named.json()["name"] == "n.csv"


FIELD = b"--e\r\nContent-Disposition: form-data; name=f\r\n\r\n"
FILE_PART = b'--e\r\nContent-Disposition: form-data; name=f; filename="a"\r\n\r\nx\r\n'


@pytest.mark.parametrize(
    ("form", "code"),
    [
        (b"nonsense", "form_unreadable"),
        (FILE_PART, "form_cut"),
        (
            b"--e\r\nContent-Disposition: form-data; name=f\r\n\r\nx\r\n--e--\r\n",
            "form_without_file",
        ),
        (FILE_PART + FILE_PART + b"--e--\r\n", "form_several_files"),
        (
            b"--e\r\nContent-Disposition: form-data; name=f\r\n\r\n" + b"x" * 70_000,
            "form_too_large",
        ),
        (b"--e\r\nX: y\r\n\r\n\r\n" * 21, "form_too_large"),
        (b"--e\r\nContent-Disposition: " + b"x" * 5000, "form_unreadable"),
        (b"--e\r\n" + b"X: y\r\n" * 9, "form_unreadable"),
    ],
)
def test_a_form_that_is_refused(api: ApiClient, user: User, form: bytes, code: str) -> None:
    answer = api.ask("POST", "files/", form, "multipart/form-data; boundary=e")
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert not StoredFile.objects.exists()
    assert usage.of(user.pk) == 0


@pytest.mark.parametrize("boundary", ["", "; boundary=", f"; boundary={'x' * 300}"])
def test_a_form_without_a_usable_boundary(api: ApiClient, boundary: str) -> None:
    answer = api.ask("POST", "files/", b"x", f"multipart/form-data{boundary}")
    assert (answer.status_code, answer.json()["code"]) == (400, "form_unreadable")
    assert not StoredFile.objects.exists()


def test_a_declared_digest_is_checked(api: ApiClient, user: User) -> None:
    right = base64.b64encode(hashlib.sha256(CSV).digest()).decode()
    wrong = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    assert upload(api, Repr_Digest=f"sha-256=:{right}:").status_code == 201
    assert upload(api, Repr_Digest=f"md5=:AAAA:, sha-256=:{right}:").status_code == 201
    refused = upload(api, Repr_Digest=f"sha-256=:{wrong}:")
    assert (refused.status_code, refused.json()["code"]) == (400, "digest_mismatch")
    for invalid in ("sha-256=x", "sha-256=:x:", "sha-256=:AAAA:", "sha-256=::"):
        refused = upload(api, Repr_Digest=invalid)
        assert (refused.status_code, refused.json()["code"]) == (400, "digest_invalid")
    assert StoredFile.objects.count() == 2
    assert usage.of(user.pk) == 2 * len(CSV)


def test_a_file_that_is_too_large(api: ApiClient, user: User, settings: Any) -> None:
    configure(settings, FILE_LIMIT=4)
    refused = upload(api)
    assert (refused.status_code, refused.json()["code"]) == (413, "file_too_large")
    assert begin(api, 5).status_code == 413
    assert usage.of(user.pk) == 0


def test_a_file_beyond_the_quota(api: ApiClient, user: User, settings: Any) -> None:
    configure(settings, FILES_PER_USER=12)
    assert upload(api).status_code == 201
    refused = upload(api)
    assert (refused.status_code, refused.json()["code"]) == (507, "files_limit_exceeded")
    assert "12" in refused.json()["detail"]
    assert upload(api, CSV[:4]).status_code == 201
    assert FileUsage.objects.get(user=user).bytes == 12


def test_an_upload_is_resumed(api: ApiClient, user: User) -> None:
    begun = begin(api, 10, b"012")
    assert begun.status_code == 201
    assert begun.headers["Upload-Offset"] == "3"
    assert begun.headers["Location"].endswith(f"/files/{begun.json()['id']}/upload/")
    file_id = begun.json()["id"]
    assert api.get(f"files/{file_id}/").status_code == 404  # it is not whole
    more = patch(api, file_id, b"345", 3, last=False)
    assert (more.status_code, more.headers["Upload-Offset"]) == (204, "6")
    state = api.ask("HEAD", f"files/{file_id}/upload/")
    assert state.status_code == 204
    assert state.headers["Upload-Offset"] == "6"
    assert state.headers["Upload-Complete"] == "?0"
    assert state.headers["Upload-Length"] == "10"
    wrong = patch(api, file_id, b"345", 3, last=False)
    assert (wrong.status_code, wrong.json()["code"]) == (409, "wrong_offset")
    assert wrong.headers["Upload-Offset"] == "6"
    last = patch(api, file_id, b"6789", 6, last=True)
    assert last.status_code == 200
    assert last.json()["sha256"] == hashlib.sha256(b"0123456789").hexdigest()
    assert body_of(api.get(f"files/{file_id}/content/")) == b"0123456789"
    state = api.ask("HEAD", f"files/{file_id}/upload/")
    assert (state.headers["Upload-Complete"], state.headers["Upload-Offset"]) == ("?1", "10")
    # A client that has not got the last answer asks again.
    again = patch(api, file_id, b"", 10, last=True)
    assert (again.status_code, again.json()) == (200, last.json())
    assert usage.of(user.pk) == 10


def test_a_resumed_upload_that_ends_too_early_can_go_on(api: ApiClient) -> None:
    file_id = begin(api, 10).json()["id"]
    cut = patch(api, file_id, b"0123", 0, last=True)
    assert (cut.status_code, cut.json()["code"]) == (400, "upload_incomplete")
    assert patch(api, file_id, b"456789", 4, last=True).status_code == 200


def test_an_upload_with_more_bytes_than_declared(api: ApiClient, user: User) -> None:
    file_id = begin(api, 5).json()["id"]
    refused = patch(api, file_id, b"0123456", 0, last=True)
    assert (refused.status_code, refused.json()["code"]) == (413, "file_too_large")
    assert usage.of(user.pk) == 0


def test_an_upload_is_cancelled(api: ApiClient, user: User) -> None:
    file_id = begin(api, 10, b"012").json()["id"]
    assert api.ask("DELETE", f"files/{file_id}/upload/").status_code == 204
    assert api.ask("HEAD", f"files/{file_id}/upload/").status_code == 404
    assert patch(api, file_id, b"345", 3, last=False).status_code == 404
    assert usage.of(user.pk) == 0


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Upload_Complete": "no"}, "upload_headers_invalid"),
        ({"Upload_Complete": "?0"}, "upload_length_required"),
        ({"Upload_Complete": "?0", "Upload_Length": "-1"}, "upload_headers_invalid"),
        ({"Upload_Complete": "?0", "Upload_Length": "9" * 16}, "upload_headers_invalid"),
        ({"Upload_Complete": "?1", "Upload_Length": "9"}, "upload_length_differs"),
    ],
)
def test_headers_that_are_wrong(api: ApiClient, headers: dict[str, str], code: str) -> None:
    refused = upload(api, **headers)
    assert (refused.status_code, refused.json()["code"]) == (400, code)
    assert not StoredFile.objects.exists()


def test_a_list_by_role_and_task(api: ApiClient, user: User) -> None:
    first, second = upload(api).json(), upload(api).json()
    assert api.get("files/?role=input").json()["count"] == 2
    assert api.get("files/?role=output").json()["count"] == 0
    assert api.get("files/?after=" + str(first["id"])).json()["results"] == [second]
    assert api.get("files/?task=12345").json()["results"] == []
    assert api.get("files/?task=x").status_code == 400
    assert records.owned_by(user.pk).count() == 2


def test_lost_bytes_are_logged(
    api: ApiClient, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file_id = upload(api).json()["id"]
    key = StoredFile.objects.get(pk=file_id).key
    (folder / key).unlink()
    refused = api.get(f"files/{file_id}/content/")
    assert (refused.status_code, refused.json()["code"]) == (410, "file_missing")
    assert "data.csv" in refused.json()["detail"]
    assert "Retry-After" not in refused.headers
    logged = [each for each in caplog.records if each.msg == "bytes of a file are missing"]
    assert [vars(each)["key"] for each in logged] == [key]


def test_without_its_folder_the_storage_is_away_and_nothing_lost(
    api: ApiClient, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file_id = upload(api).json()["id"]
    folder.rename(folder.with_name("elsewhere"))
    refused = api.get(f"files/{file_id}/content/")
    assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable")
    assert refused.headers["Retry-After"]
    assert "bytes of a file are missing" not in caplog.messages
    folder.with_name("elsewhere").rename(folder)
    assert body_of(api.get(f"files/{file_id}/content/")) == CSV


def test_an_upload_that_cannot_be_opened_takes_no_bytes_of_the_quota(
    api: ApiClient, user: User, folder: Path
) -> None:
    folder.write_bytes(b"")  # no folder can be made here
    answer = begin(api, 10)
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert usage.of(user.pk) == 0


def test_a_file_is_in_no_transaction_of_the_project() -> None:
    for name in ("files", "files/1", "files/1/content", "files/1/upload", "files/presign"):
        view = resolve(f"/api/{name}/").func
        assert "default" in getattr(view, "_non_atomic_requests", ())
