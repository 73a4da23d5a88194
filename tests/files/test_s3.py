"""Files in S3: bounded memory, nothing left of a failed upload, and failures that say what to do.

The server is moto's, which speaks the protocol of S3 and is not AWS.
"""

import io
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any, cast
from xml.sax.saxutils import escape

import pytest
from django.db.models.functions import Now

from taskyard.catalog.files import StorageError
from taskyard.core.types import UserId
from taskyard.files import reconcile, storage, usage
from taskyard.files.errors import StorageFull, StorageUnavailable, UploadGone
from taskyard.files.models import State, StoredFile
from taskyard.files.sweep import sweep
from taskyard.files.writing import Writer, begin
from taskyard.server import file_storage
from taskyard.worker.input_files import InputFiles
from tests.configured import configure
from tests.faults.proxy import Mode, Proxy
from tests.files.conftest import using
from tests.files.storages import S3
from tests.local_server import LocalServer

pytestmark = pytest.mark.django_db
STORAGES = ("s3",)
MIB = 2**20


@pytest.fixture
def proxy(s3_server: str, stored: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A way to S3 that can break; the product waits shorter than usual."""
    monkeypatch.setattr(file_storage, "READ_SECONDS", 1)
    with Proxy(s3_server) as way:
        behind = S3(s3_server, way.url)
        behind.client.delete_bucket(Bucket=behind.bucket)
        entry = behind.entry["OPTIONS"] | {"bucket_name": stored.bucket}
        with using({**behind.entry, "OPTIONS": entry}):
            yield way


def begun(owner_id: UserId, *, size: int | None = None) -> Writer:
    return Writer(begin(owner_id, "a.bin", size=size), is_size_known=size is not None)


def why(caplog: pytest.LogCaptureFixture) -> str:
    """What the log says of the failures."""
    return "\n".join(vars(record).get("why", "") for record in caplog.records)


def is_given_back(owner_id: UserId) -> bool:
    """The quota is free and the row says that its bytes are to be deleted."""
    states = set(StoredFile.objects.values_list("state", flat=True))
    return usage.of(owner_id) == 0 and states == {State.DELETING}


def test_a_large_file_has_parts_of_one_size_and_is_read_from_any_place(
    owner_id: UserId, stored: S3
) -> None:
    data = os.urandom(20 * MIB + 1)
    writer = begun(owner_id)
    for start in range(0, len(data), 700_001):
        writer.write(data[start : start + 700_001])
    file = writer.complete()
    assert stored.data(file.key) == data
    place = {"Bucket": stored.bucket, "Key": f"of/tasks/{file.key}"}
    sizes = [
        stored.client.head_object(**cast("Any", place), PartNumber=number)["ContentLength"]
        for number in (1, 2, 3)
    ]
    assert sizes == [8 * MIB, 8 * MIB, 4 * MIB + 1]
    with storage.read(file.key) as stream:
        assert stream.read(10) == data[:10]
        assert stream.seek(-5, io.SEEK_END) == len(data) - 5
        assert stream.read() == data[-5:]
        stream.seek(9 * MIB)
        assert stream.read(3 * MIB) == data[9 * MIB : 12 * MIB]
        assert stream.seek(len(data) + 1)
        assert stream.read() == b""


def test_parts_grow_with_the_largest_file_so_that_ten_thousand_are_enough(
    owner_id: UserId, settings: Any, stored: S3
) -> None:
    configure(settings, FILE_LIMIT=100_000 * MIB)
    writer = begun(owner_id)
    for _ in range(20):
        writer.write(b"x" * MIB)
    place = {"Bucket": stored.bucket, "Key": f"of/tasks/{writer.complete().key}"}
    answer = stored.client.head_object(**cast("Any", place), PartNumber=1)
    assert answer["ContentLength"] == 10 * MIB


def test_an_object_is_private_and_says_nothing_of_the_file(owner_id: UserId, stored: S3) -> None:
    writer = begun(owner_id)
    writer.write(b"<html></html>")
    file = writer.complete()
    assert "a.bin" not in file.key
    place: Any = {"Bucket": stored.bucket, "Key": f"of/tasks/{file.key}"}
    assert stored.client.head_object(**place)["ContentType"] == "application/octet-stream"
    grants = stored.client.get_object_acl(**place)["Grants"]
    assert all("URI" not in grant["Grantee"] for grant in grants)


def test_a_file_that_is_given_up_leaves_nothing(owner_id: UserId, stored: S3) -> None:
    writer = begun(owner_id)
    writer.write(b"x" * 9 * MIB)
    assert stored.unfinished() == 1
    writer.discard()
    assert (stored.keys(), stored.unfinished(), usage.of(owner_id)) == (set(), 0, 0)
    assert not StoredFile.objects.exists()


def test_bytes_that_go_while_the_storage_is_compared_are_not_wrong(
    stored: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "YOUNG", timedelta(seconds=-1))
    keys = {storage.new_key() for _ in range(3)}
    for key in keys:
        storage.close(storage.create(key, at_most=1))
    reported = []

    def delete_the_others(_: str, key: str) -> None:
        reported.append(key)
        for other in keys - {key}:
            storage.delete(other)

    reconcile.reconcile(delete_the_others)
    assert len(reported) == 1
    assert stored.keys() == {*reported}


def test_a_missing_bucket_is_no_missing_file(owner_id: UserId, stored: S3) -> None:
    writer = begun(owner_id)
    writer.write(b"x")
    file = writer.complete()
    assert storage.size(file.key) == 1
    storage.delete(file.key)
    for ask in (storage.size, storage.written_at, storage.read):
        with pytest.raises(FileNotFoundError):
            ask(file.key)
    stored.client.delete_bucket(Bucket=stored.bucket)
    for ask in (storage.size, storage.written_at, storage.read):
        with pytest.raises(StorageUnavailable):
            ask(file.key)


def test_what_a_dead_writer_has_sent_is_swept(owner_id: UserId, stored: S3) -> None:
    writer = begun(owner_id)
    writer.write(b"x" * 9 * MIB)
    StoredFile.objects.update(expires_at=Now() - timedelta(seconds=1))
    assert sweep() == 1
    assert (stored.keys(), stored.unfinished(), usage.of(owner_id)) == (set(), 0, 0)
    with pytest.raises(UploadGone):
        writer.write(b"x" * 8 * MIB)


class Refusal(BaseHTTPRequestHandler):
    """Answers each request as S3 does when it refuses."""

    status, code = 403, "AccessDenied"

    def refuse(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.status)
        body = (
            f"<Error><Code>{self.code}</Code>"
            f"<Message>{escape('The server says why.')}</Message></Error>"
        ).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = refuse

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "code", "error", "said"),
    [
        (403, "AccessDenied", StorageUnavailable, "s3:GetObject, PutObject"),
        (403, "InvalidAccessKeyId", StorageUnavailable, "does not know the access key"),
        (403, "SignatureDoesNotMatch", StorageUnavailable, "the secret key"),
        (400, "ExpiredToken", StorageUnavailable, "the credentials have expired"),
        (403, "RequestTimeTooSkewed", StorageUnavailable, "the clock"),
        (404, "NoSuchBucket", StorageUnavailable, "create the bucket"),
        (503, "SlowDown", StorageUnavailable, "The server says why."),
        (403, "QuotaExceeded", StorageFull, "The server says why."),
        (507, "XMinioStorageFull", StorageFull, "The server says why."),
    ],
)
def test_a_refusal_is_logged_with_what_to_do_and_leaves_no_row(
    status: int,
    code: str,
    error: type[Exception],
    said: str,
    owner_id: UserId,
    stored: S3,
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = type("Handler", (Refusal,), {"status": status, "code": code})
    with LocalServer(handler) as server:
        options = stored.entry["OPTIONS"] | {"endpoint_url": server.url}
        with using({**stored.entry, "OPTIONS": options}):
            writer = begun(owner_id, size=3)
            writer.write(b"abc")
            with pytest.raises(error):
                writer.complete()
            assert code in why(caplog)
            assert said in why(caplog)
            assert stored.bucket in why(caplog)
            writer.discard()
            assert is_given_back(owner_id)
    assert sweep() == 1
    assert (stored.keys(), StoredFile.objects.count()) == (set(), 0)


def test_a_read_that_fails_half_way_is_an_error_of_the_storage(
    owner_id: UserId, stored: S3, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """The owner of the task sees the message, so it names no server."""
    writer = begun(owner_id)
    writer.write(b"x" * 12 * MIB)
    file = writer.complete()
    inputs = InputFiles(1, None)
    inputs._rows = {file.pk: file}
    with inputs.open(file.pk) as stream:
        assert stream.read(5) == b"xxxxx"
        assert stream.seek(-1, io.SEEK_END) == 12 * MIB - 1
        assert stream.read() == b"x"
        stream.seek(0)
        proxy.become(Mode.REFUSE)
        with pytest.raises(StorageError, match=r"^The storage of files does not answer\.$"):
            stream.read()
    assert proxy.url in why(caplog)


def test_a_bucket_that_is_missing_is_not_a_file_that_is_missing(stored: S3) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read(storage.new_key())
    stored.client.delete_bucket(Bucket=stored.bucket)
    with pytest.raises(StorageUnavailable):
        storage.read(storage.new_key())


def test_while_s3_is_away_nothing_is_lost_and_later_nothing_is_left(
    owner_id: UserId, stored: S3, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    kept = begun(owner_id)
    kept.write(b"abc")
    file = kept.complete()
    writer = begun(owner_id)
    writer.write(b"x" * 9 * MIB)
    proxy.become(Mode.REFUSE)
    with pytest.raises(StorageUnavailable):
        writer.write(b"x" * 9 * MIB)
    writer.discard()
    assert "cannot be reached" in why(caplog)
    with pytest.raises(StorageUnavailable):
        storage.read(file.key)
    assert sweep() == 0
    proxy.become(Mode.PASS)
    assert stored.unfinished() == 1
    assert sweep() == 1
    assert (stored.keys(), stored.unfinished()) == ({file.key}, 0)
    assert usage.of(owner_id) == 3


def test_a_silent_s3_holds_a_writer_for_two_tries_and_no_longer(
    owner_id: UserId, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    large, small = begun(owner_id), begun(owner_id)
    large.write(b"x" * 9 * MIB)
    small.write(b"x")
    proxy.become(Mode.BLACK_HOLE)
    longest = 2 * (file_storage.CONNECT_SECONDS + file_storage.READ_SECONDS) + 5
    for fail in (lambda: large.write(b"x" * 9 * MIB), small.complete):
        began = time.monotonic()
        with pytest.raises(StorageUnavailable):
            fail()
        assert time.monotonic() - began < longest
    assert "takes nothing and closes the connection" in why(caplog)
    assert "does not answer in time" in why(caplog)
    began = time.monotonic()
    large.discard()
    small.discard()
    assert time.monotonic() - began < 1
    assert is_given_back(owner_id)


def test_a_slow_s3_is_only_slow(owner_id: UserId, stored: S3, s3_server: str) -> None:
    with Proxy(s3_server, delay_seconds=0.01) as way:
        options = stored.entry["OPTIONS"] | {"endpoint_url": way.url}
        with using({**stored.entry, "OPTIONS": options}):
            way.become(Mode.DELAY)
            writer = begun(owner_id, size=9 * MIB)
            writer.write(b"x" * 9 * MIB)
            file = writer.complete()
            with storage.read(file.key) as stream:
                assert len(stream.read(MIB)) == MIB


def test_a_download_goes_on_after_its_connection_broke(
    owner_id: UserId, proxy: Proxy, stored: S3
) -> None:
    data = os.urandom(12 * MIB)
    writer = begun(owner_id)
    writer.write(data)
    file = writer.complete()
    with storage.read(file.key) as stream:
        head = stream.read(MIB)
        proxy.become(Mode.RESET)
        proxy.become(Mode.PASS)
        assert head + stream.read() == data
        stream.seek(0)
        proxy.become(Mode.REFUSE)
        with pytest.raises(OSError, match="cannot be reached"):
            stream.read()
