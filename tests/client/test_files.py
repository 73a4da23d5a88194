"""The client library uploads and downloads files, also over a network that breaks."""

import asyncio
import hashlib
import io
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from taskyard.client import (
    AsyncClient,
    Client,
    ConnectionFailed,
    File,
    FileInUse,
    FilesLimitExceeded,
    FileTooLarge,
    InvalidRequest,
    NotFound,
    RequestRejected,
    TransferFailed,
)
from tests import servers
from tests.client.conftest import NewClient
from tests.client.cutting_proxy import CuttingProxy
from tests.contract.client import PASSWORD
from tests.files.storages import KEYS, S3
from tests.live_system import Live
from tests.local_server import LocalServer

pytestmark = pytest.mark.servers
MIB = 2**20
SMALL = b"a,b\n1,2\n"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 40 MiB, which is sent in three pieces."""
    path = tmp_path_factory.mktemp("large") / "large.bin"
    path.write_bytes(secrets.token_bytes(40 * MIB))
    return path


@pytest.fixture
def proxy(live: Live) -> Iterator[CuttingProxy]:
    with CuttingProxy(live.url) as cutting_proxy:
        yield cutting_proxy


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "stream", "resumable", "empty"])
def test_a_file_comes_back_as_it_was(kind: str, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    data = b"" if kind == "empty" else SMALL
    path.write_bytes(data)
    sources: dict[str, Callable[[], Any]] = {
        "path": lambda: client.upload(path),
        "text": lambda: client.upload(str(path)),
        "bytes": lambda: client.upload(data, "data.csv"),
        "stream": lambda: client.upload(io.BytesIO(data), "data.csv"),
        "resumable": lambda: client.upload(path, resumable=True),
        "empty": lambda: client.upload(path, resumable=True),
    }
    file = sources[kind]()
    assert (file.name, file.size, file.role) == ("data.csv", len(data), "input")
    assert file.sha256 == hashlib.sha256(data).hexdigest()
    assert file.expires_at is not None
    assert client.files.get(file.id) == file
    assert [*client.files.list()] == [file]
    out = tmp_path / "out"
    assert file.download(f"{out}/") == out / "data.csv"
    assert [each.read_bytes() for each in out.iterdir()] == [data]
    file.delete()
    with pytest.raises(NotFound):
        client.files.get(file.id)
    assert [*client.files.list()] == []


def test_the_list_goes_on_from_page_to_page(client: Client) -> None:
    ids = [client.upload(SMALL).id for _ in range(5)]
    assert [file.id for file in client.files.list(page_size=2)] == ids
    assert [*client.files.list(role="output")] == []


@pytest.mark.parametrize("cuts", [[5 * MIB], [100_000] * 3, [17 * MIB, 9 * MIB, 1]])
def test_an_upload_goes_on_after_a_cut(
    cuts: list[int], proxy: CuttingProxy, new_client: NewClient, large: Path
) -> None:
    client = new_client(proxy.url)
    proxy.cut_after(*cuts)
    steps: list[tuple[int, int]] = []
    file = client.upload(large, progress=lambda done, total: steps.append((done, total)))
    assert proxy.count == len(cuts)
    assert (file.size, file.sha256) == (40 * MIB, sha256(large))
    assert steps[-1] == (40 * MIB, 40 * MIB)
    # The client has not sent again the bytes that had arrived.
    assert len(steps) * 2**18 < 60 * MIB


def test_a_storage_that_keeps_no_pieces_gets_the_rest_at_once(
    new_live: Callable[..., Live], new_client: NewClient, large: Path, tmp_path: Path
) -> None:
    with servers.s3() as server:
        keys = {f"TASKYARD_FILES_{name.upper()}": key for name, key in KEYS.items()}
        live = new_live(TASKYARD_FILES_URL=S3(server).url, **keys)
        with CuttingProxy(live.url) as proxy:
            client = new_client(proxy.url)
            steps: list[int] = []
            file = client.upload(large, progress=lambda done, total: steps.append(done))
            assert (file.size, file.sha256) == (40 * MIB, sha256(large))
            # One piece was sent in vain.
            assert len(steps) * 2**18 == (16 + 40) * MIB
            proxy.cut_after(5 * MIB, 30 * MIB)
            assert client.upload(large).sha256 == file.sha256
            assert proxy.count == 2
            assert sha256(file.download(tmp_path)) == file.sha256


class ForgetfulServer(BaseHTTPRequestHandler):
    """Takes each request of an upload, and keeps nothing."""

    patches = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"id": 1}'
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PATCH(self) -> None:
        type(self).patches += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_HEAD()

    def do_HEAD(self) -> None:
        self.send_response(204)
        self.send_header("Upload-Offset", "0")
        self.send_header("Upload-Complete", "?0")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


def test_an_upload_that_never_gets_on_is_given_up() -> None:
    ForgetfulServer.patches = 0
    with (
        LocalServer(ForgetfulServer) as server,
        Client(server.url, token="x", retry_for=1) as client,
        pytest.raises(ConnectionFailed, match="keeps no bytes"),
    ):
        client.upload(b"x" * 17 * MIB)
    assert 3 <= ForgetfulServer.patches < 20


@pytest.mark.parametrize("cuts", [[5 * MIB], [100_000] * 3, [39 * MIB, 1]])
def test_a_download_goes_on_after_a_cut(
    cuts: list[int], proxy: CuttingProxy, new_client: NewClient, large: Path, tmp_path: Path
) -> None:
    client = new_client(proxy.url)
    file = client.upload(large)
    proxy.cut_after(*cuts)
    done: list[int] = []
    path = file.download(tmp_path, progress=lambda size, total: done.append(size))
    assert proxy.count == len(cuts)
    assert sha256(path) == file.sha256
    assert done == sorted(done)
    assert [*tmp_path.iterdir()] == [path]


def test_a_client_gives_up_and_another_goes_on(
    proxy: CuttingProxy, new_client: NewClient, large: Path, tmp_path: Path
) -> None:
    client = new_client(proxy.url, retry_for=1)
    file = client.upload(large)
    proxy.cut_after(30 * MIB, *[1] * 50)
    with pytest.raises(ConnectionFailed):
        file.download(tmp_path)
    part = tmp_path / "large.bin.part"
    assert 0 < part.stat().st_size < file.size
    assert not (tmp_path / "large.bin").exists()
    with pytest.raises(ConnectionFailed):
        client.upload(large)
    proxy.cut_after()
    steps: list[int] = []
    file.download(tmp_path, progress=lambda done, total: steps.append(done))
    assert steps[0] > 20 * MIB
    assert sha256(tmp_path / "large.bin") == file.sha256


def test_the_part_of_another_file_is_replaced(client: Client, tmp_path: Path) -> None:
    (tmp_path / "data.csv.part").write_bytes(b"x,y")
    client.upload(SMALL, "data.csv").download(tmp_path)
    assert (tmp_path / "data.csv").read_bytes() == SMALL


def test_lost_bytes_are_an_error_of_their_own_and_not_asked_for_again(
    live: Live, client: Client, tmp_path: Path
) -> None:
    folder = live.home / "files"
    before = {*folder.rglob("*")}
    file = client.upload(SMALL, "data.csv")
    for path in {*folder.rglob("*")} - before:
        if path.is_file():
            path.unlink()
    began = time.monotonic()
    with pytest.raises(RequestRejected, match=r"lost the bytes of the file data\.csv") as refused:
        file.download(tmp_path)
    assert (refused.value.status, refused.value.code) == (410, "file_missing")
    assert time.monotonic() - began < 2


@asynccontextmanager
async def of_new_user(url: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(url, language="en") as client:
        name = f"user-{secrets.token_hex(6)}"
        await client.register(name, PASSWORD)
        await client.login(name, PASSWORD)
        yield client


def test_of_two_downloads_to_one_file_at_once_one_is_refused(
    live: Live, large: Path, tmp_path: Path
) -> None:
    async def run() -> None:
        async with of_new_user(live.url) as client:
            files = [await client.upload(data, "r.bin") for data in (large, b"x" * 40 * MIB)]
            downloads = [file.download(tmp_path) for file in files]
            ended = await asyncio.gather(*downloads, return_exceptions=True)
            ((winner, path),) = (
                (file, end) for file, end in zip(files, ended, strict=True) if isinstance(end, Path)
            )
            assert sha256(path) == winner.sha256
            assert [type(end) for end in ended if end is not path] == [TransferFailed]
            assert [*tmp_path.iterdir()] == [path]
            # The other can be fetched now.
            for file in files:
                assert sha256(await file.download(tmp_path)) == file.sha256

    asyncio.run(run())


def test_the_asynchronous_client_does_the_same(
    live: Live, proxy: CuttingProxy, large: Path, tmp_path: Path
) -> None:
    async def run() -> None:
        async with of_new_user(proxy.url) as client:
            proxy.cut_after(5 * MIB)
            file = await client.upload(large)
            proxy.cut_after(5 * MIB)
            assert sha256(await file.download(tmp_path)) == file.sha256
            assert proxy.count == 2
            assert [each async for each in client.files.list()] == [file]
            await file.delete()
            with pytest.raises(NotFound):
                await client.files.delete(file.id)

    asyncio.run(run())


def test_a_file_beyond_a_limit_is_a_typed_error(
    new_live: Callable[..., Live], new_client: NewClient, large: Path
) -> None:
    live = new_live(TASKYARD_FILE_LIMIT=str(20 * MIB), TASKYARD_FILES_PER_USER=str(30 * MIB))
    client = new_client(live.url)
    with pytest.raises(FileTooLarge):
        client.upload(large)
    client.upload(b"x" * 20 * MIB)
    for resumable in (False, True):
        with pytest.raises(FilesLimitExceeded):
            client.upload(b"x" * 16 * MIB, resumable=resumable)
    assert len([*client.files.list()]) == 1


def test_a_path_in_an_input_is_uploaded(client: Client, tmp_path: Path) -> None:
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path in paths:
        path.write_bytes(SMALL)
    task = client.submit("sizes", {"tables": [*paths, paths[0]]}, delay=3600)
    ids = [file.id for file in task.files]
    assert task.input_data == {"tables": [*ids, ids[0]]}
    assert [(file.name, file.role) for file in task.files] == [
        ("a.csv", "input"),
        ("b.csv", "input"),
    ]
    with pytest.raises(FileInUse):
        task.files[0].delete()
    # A task that is refused leaves no upload behind.
    with pytest.raises(InvalidRequest):
        client.submit("sizes", {"tables": [paths[0], 2**60]})
    with pytest.raises(InvalidRequest):
        client.submit("sum", {"numbers": paths[0]})
    assert [file.id for file in client.files.list()] == ids
    again = client.submit("sizes", {"tables": [*task.files]}, delay=3600)
    assert again.files == task.files
    (listed, _) = client.list()
    assert listed.files == task.files
    with pytest.raises(TypeError, match="only submit uploads"):
        client.submit_many([{"task_type": "sizes", "input_data": {"tables": paths}}])


def test_a_task_gives_back_the_files_that_it_saved(client: Client, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(SMALL)
    task = client.wait(client.submit("copies", {"source": tmp_path / "a.csv"}).id)
    assert task.succeeded, task.error
    source, copy = task.files
    assert (source.role, copy.role) == ("input", "output")
    assert task.result == copy.id
    assert copy.download(f"{tmp_path}/out/") == tmp_path / "out" / "copy of a.csv"
    assert (tmp_path / "out" / "copy of a.csv").read_bytes() == SMALL
    (event,) = client.stream(task.id)
    assert event.task.files == task.files


class HostileServer(BaseHTTPRequestHandler):
    """Sends other bytes than it has promised, in endless numbers if it may."""

    sent: bytes = b""

    def do_GET(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):  # the client has left
            for _ in range(1000):
                self.wfile.write(self.sent)

    def log_message(self, *arguments: Any) -> None:
        pass


def promised(client: Client, data: bytes) -> File:
    """A file as a server describes it."""
    raw = {
        "id": 1, "name": "../../x", "content_type": "", "role": "output", "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(), "created_at": "2026-01-01T00:00:00Z",
        "expires_at": None,
    }  # fmt: skip
    return File.from_dict(raw, client._transport)


@pytest.mark.parametrize("sent", [b"wrong by", SMALL])
def test_bytes_of_a_hostile_server_are_not_kept(sent: bytes, tmp_path: Path) -> None:
    HostileServer.sent = sent
    with (
        LocalServer(HostileServer) as server,
        Client(server.url, token="x") as client,
        pytest.raises(TransferFailed),
    ):
        promised(client, SMALL).download(f"{tmp_path}/out/")
    assert not (tmp_path / "x").exists()
    assert not (tmp_path / "out" / "x").exists()


class StorageServer(BaseHTTPRequestHandler):
    """Redirects to itself under another name, as a server does to a storage, and cuts the first
    response."""

    data = secrets.token_bytes(100_000)
    seen: list[str | None]

    def do_GET(self) -> None:
        self.close_connection = True
        if self.path.startswith("/api/"):
            port = self.server.server_address[1]
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{port}/bucket/key?signature=x")
            self.end_headers()
            return
        if "Authorization" in self.headers:
            self.send_error(400)
            return
        asked = self.headers.get("Range")
        start = int((asked or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(self.data) - start))
        self.send_header("Content-Range", f"bytes {start}-99999/100000")
        self.end_headers()
        self.wfile.write(self.data[start : None if self.seen else 60_000])
        self.seen.append(asked)

    def log_message(self, *arguments: Any) -> None:
        pass


def test_a_download_goes_on_at_the_storage_that_the_server_names(tmp_path: Path) -> None:
    StorageServer.seen = []
    with LocalServer(StorageServer) as server, Client(server.url, token="x") as client:
        path = promised(client, StorageServer.data).download(f"{tmp_path}/out/")
    assert path.read_bytes() == StorageServer.data
    assert StorageServer.seen == [None, "bytes=60000-"]
