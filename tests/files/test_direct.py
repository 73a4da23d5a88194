"""Uploads and downloads that go past the web, to a server that speaks S3's protocol (moto's)."""

import hashlib
import os
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from django.db.models.functions import Now

from taskyard.accounts.models import User
from taskyard.files import removal, storage, usage
from taskyard.files.models import StoredFile
from taskyard.files.s3 import Bucket
from taskyard.files.sweep import sweep
from taskyard.files.writing import Writer, begin, resume
from tests.api_client import ApiClient
from tests.configured import configure
from tests.faults.proxy import Mode, Proxy
from tests.files.conftest import using
from tests.files.storages import S3, Stored
from tests.files.test_api import api, as_user, body_of, new_user, other, upload, user

__all__ = ["api", "as_user", "new_user", "other", "user"]
pytestmark = pytest.mark.django_db

STORAGES = ("s3",)
MIB = 2**20


@pytest.fixture(autouse=True)
def direct(settings: Any) -> None:
    configure(settings, FILES_DIRECT=True)


def presign(api: ApiClient, size: int) -> Any:
    return api.post("files/presign/", {"name": "../data.bin", "size": size})


def send(upload: Any, data: bytes) -> list[dict[str, Any]]:
    """PUT the parts as a client does; what S3 has answered."""
    sent, start = [], 0
    for part in upload["parts"]:
        answer = httpx.put(part["url"], content=data[start : start + part["size"]], timeout=60)
        assert answer.status_code == 200, answer.text
        sent.append({"number": part["number"], "etag": answer.headers["ETag"]})
        start += part["size"]
    return sent


def complete(api: ApiClient, upload: Any, parts: Any = None) -> Any:
    return api.post(f"files/{upload['id']}/complete/", {} if parts is None else {"parts": parts})


def test_a_file_comes_in_parts_and_its_bytes_never_pass_the_web(
    api: ApiClient, user: User, stored: Stored
) -> None:
    data = os.urandom(17 * MIB)
    answer = presign(api, len(data))
    assert answer.status_code == 201
    begun = answer.json()
    assert (begun["name"], begun["part_size"]) == ("data.bin", 16 * MIB)
    assert [part["size"] for part in begun["parts"]] == [16 * MIB, MIB]
    assert usage.of(user.pk) == len(data)
    assert api.get(f"files/{begun['id']}/").status_code == 404
    parts = send(begun, data)
    file = complete(api, begun, parts)
    assert file.status_code == 200
    assert file.json()["sha256"] == hashlib.sha256(data).hexdigest()
    assert api.get(f"files/{begun['id']}/").json() == file.json()
    # A client whose answer was lost asks again.
    assert complete(api, begun, parts).json() == file.json()
    assert (len(stored.keys()), stored.unfinished()) == (1, 0)


def test_an_address_is_for_one_part_of_one_size(api: ApiClient) -> None:
    begun = presign(api, 17 * MIB).json()
    for part in begun["parts"]:
        given = parse_qs(urlsplit(part["url"]).query)
        assert given["X-Amz-SignedHeaders"] == ["content-length;host"]
        assert given["partNumber"] == [str(part["number"])]
        assert given["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]


def test_a_part_that_is_missing_can_follow(api: ApiClient) -> None:
    data = os.urandom(17 * MIB)
    begun = presign(api, len(data)).json()
    first, second = begun["parts"]
    assert httpx.put(first["url"], content=data[: 16 * MIB], timeout=60).status_code == 200
    early = complete(api, begun)
    assert (early.status_code, early.json()["code"]) == (400, "upload_incomplete")
    assert httpx.put(second["url"], content=data[16 * MIB :]).status_code == 200
    assert complete(api, begun).status_code == 200


def test_a_begin_that_was_tried_twice_leaves_nothing(
    api: ApiClient, stored: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to the first try was lost, so boto has tried again."""
    once = Bucket.begin

    def twice(bucket: Bucket, key: str) -> str:
        once(bucket, key)
        return once(bucket, key)

    monkeypatch.setattr(Bucket, "begin", twice)
    begun = presign(api, 3).json()
    send(begun, b"abc")
    assert stored.unfinished() == 2
    assert complete(api, begun).status_code == 200
    assert stored.unfinished() == 0


def test_other_parts_than_the_client_has_sent_are_refused(api: ApiClient) -> None:
    begun = presign(api, 3).json()
    (part,) = send(begun, b"abc")
    answer = complete(api, begun, [{**part, "etag": '"0"'}])
    assert (answer.status_code, answer.json()["code"]) == (400, "digest_mismatch")
    assert complete(api, begun, [part]).status_code == 200


def test_more_bytes_than_were_reserved_are_refused(api: ApiClient, stored: Stored) -> None:
    begun = presign(api, 3).json()
    # A server that does not check the signed size.
    assert httpx.put(begun["parts"][0]["url"], content=b"abcd").status_code == 200
    answer = complete(api, begun)
    assert (answer.status_code, answer.json()["code"]) == (400, "upload_incomplete")
    assert api.ask("DELETE", f"files/{begun['id']}/upload/").status_code == 204
    assert (stored.keys(), stored.unfinished(), StoredFile.objects.count()) == (set(), 0, 0)


def test_an_upload_that_nobody_completes_is_swept(
    api: ApiClient, user: User, stored: Stored
) -> None:
    send(presign(api, 3).json(), b"abc")
    assert stored.unfinished() == 1
    StoredFile.objects.update(expires_at=Now() - timedelta(seconds=1))
    assert sweep() == 1
    assert (stored.keys(), stored.unfinished(), usage.of(user.pk)) == (set(), 0, 0)


def test_another_user_does_not_see_the_upload(api: ApiClient, other: ApiClient) -> None:
    begun = presign(api, 3).json()
    send(begun, b"abc")
    assert complete(other, begun).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "a", "size": 0}, 400),
        ({"name": "a"}, 400),
        ({"name": "a", "size": 2**40}, 413),
    ],
)
def test_a_wrong_size_is_refused(api: ApiClient, body: Any, status: int) -> None:
    assert api.post("files/presign/", body).status_code == status


def test_a_download_is_redirected_with_its_headers(api: ApiClient) -> None:
    file = upload(api, b"<script>", "наш.html").json()
    address = f"files/{file['id']}/content/"
    answer = api.get(address)
    assert answer.status_code == 302
    assert answer.headers["Cache-Control"] == "no-store"
    there = httpx.get(answer.headers["Location"])
    assert there.content == b"<script>"
    assert there.headers["Content-Type"] == "application/octet-stream"
    assert there.headers["Content-Disposition"].startswith("attachment; filename*=utf-8''")
    part = httpx.get(answer.headers["Location"], headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"scr")
    etag = f'"{file["sha256"]}"'
    assert api.get(address, If_None_Match=etag).status_code == 304
    assert api.ask("HEAD", address).status_code == 200


def test_a_download_of_lost_bytes_is_redirected_nowhere(
    api: ApiClient, caplog: pytest.LogCaptureFixture
) -> None:
    file = upload(api).json()
    storage.delete(StoredFile.objects.get().key)
    answer = api.get(f"files/{file['id']}/content/")
    assert (answer.status_code, answer.json()["code"]) == (410, "file_missing")
    assert "bytes of a file are missing" in caplog.messages


@pytest.mark.parametrize("action", ["ListParts", "CompleteMultipartUpload"])
def test_an_upload_that_is_deleted_while_it_is_completed_is_gone(
    api: ApiClient, user: User, stored: Stored, action: str
) -> None:
    begun = presign(api, 3).json()
    send(begun, b"abc")
    events: Any = cast("Bucket", storage.bucket()).client.meta.events

    def delete(**_: Any) -> Any:
        removal.delete(StoredFile.objects.get(pk=begun["id"]))
        # As S3 answers now; moto fails.
        refusal = {"Error": {"Code": "NoSuchUpload"}, "ResponseMetadata": {"HTTPStatusCode": 404}}
        return SimpleNamespace(status_code=404), refusal

    events.register_first(f"before-call.s3.{action}", delete)
    answer = complete(api, begun)
    assert (answer.status_code, answer.json()["code"]) == (410, "upload_gone")
    assert (stored.keys(), stored.unfinished(), usage.of(user.pk)) == (set(), 0, 0)


def test_clients_that_do_not_reach_s3_go_through_the_web(api: ApiClient, settings: Any) -> None:
    configure(settings, FILES_DIRECT=False)
    answer = presign(api, 3)
    assert (answer.status_code, answer.json()["code"]) == (409, "direct_unavailable")
    assert not StoredFile.objects.exists()
    file = upload(api).json()
    assert body_of(api.get(f"files/{file['id']}/content/")) == b"a,b\n1,2\n"


def test_while_s3_is_away_nothing_is_begun(
    api: ApiClient, user: User, s3_server: str, stored: Stored
) -> None:
    with Proxy(s3_server) as proxy, using(S3(s3_server, proxy.url).entry):
        proxy.become(Mode.REFUSE)
        answer = presign(api, 3)
        assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
        assert answer.headers["Retry-After"]
        assert usage.of(user.pk) == 0
        proxy.become(Mode.PASS)
        begun = presign(api, 3).json()
        send(begun, b"abc")
        proxy.become(Mode.REFUSE)
        assert complete(api, begun).status_code == 503
        proxy.become(Mode.PASS)
        assert complete(api, begun).status_code == 200


def test_parts_of_a_killed_request_go_when_the_upload_begins_again(
    user: User, stored: Stored
) -> None:
    data = b"x" * (9 * 2**20)
    file = begin(user.pk, "a.bin", size=len(data), resumable=True)
    Writer(file, is_size_known=True, resumable=True).write(data)  # its process is killed here
    assert stored.unfinished() == 1
    again = resume(file, 0)
    again.write(data)
    removal.delete(again.complete())
    assert (stored.keys(), stored.unfinished()) == (set(), 0)
