"""Uploads and downloads of a running server: bounds, slow clients, cut connections, and races."""

import http.client
import json
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import USUAL, start_live
from tests.contract.client import User
from tests.live_system import Live

pytestmark = pytest.mark.servers
STORAGES = ("folder",)
MIB = 2**20
LIMIT = 300 * MIB
QUOTA = 400 * MIB
MOST_MORE_BYTES = 64 * MIB


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    environment = {
        **USUAL,
        "TASKYARD_STALL_SECONDS": "1",
        "TASKYARD_LEAST_RATE": "1024",
        "TASKYARD_FILE_LIMIT": str(LIMIT),
        "TASKYARD_FILES_PER_USER": str(QUOTA),
    }
    with ExitStack() as stack:
        yield start_live(stack, tmp_path_factory.mktemp("files"), environment)


@pytest.fixture
def person(system: Live) -> User:
    return User.register(system)


def request(system: Live, person: User | None, line: str, *headers: str) -> socket.socket:
    """A connection on which a request's headers were sent, and no body."""
    connection = socket.create_connection(("127.0.0.1", system.port), timeout=20)
    if person is not None:
        headers = (*headers, f"Authorization: {person.http.headers['Authorization']}")
    lines = [f"{line} HTTP/1.1", "Host: localhost", *headers, "", ""]
    connection.sendall("\r\n".join(lines).encode())
    return connection


def answer_of(connection: socket.socket) -> tuple[int, dict[str, Any], http.client.HTTPResponse]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    body = response.read()
    return response.status, json.loads(body) if body else {}, response


def stored(system: Live) -> list[Path]:
    return [path for path in (system.home / "files").rglob("*") if path.is_file()]


def used(system: Live, *people: User) -> list[int]:
    """What the quota counts for these users."""
    names = [person.name for person in people]
    code = (
        "from taskyard.files.models import FileUsage;"
        "found = dict(FileUsage.objects.values_list('user__username', 'bytes'));"
        f"print([found.get(name, 0) for name in {names}])"
    )
    printed = system.command("manage", "shell", "--no-imports", "-c", code)
    return list(json.loads(printed))


def sweep(system: Live) -> None:
    code = "from taskyard.files.sweep import sweep; sweep()"
    system.command("manage", "shell", "--no-imports", "-c", code)


def eventually(holds: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.1)
    return False


def resident_bytes(system: Live) -> int:
    """The memory of the web process."""
    status = Path(f"/proc/{system.web_pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def test_a_large_file_takes_little_memory(system: Live, person: User, tmp_path: Path) -> None:
    piece = secrets.token_bytes(MIB)
    person.http.post("/files/?name=warm", content=piece)
    before = resident_bytes(system)

    def pieces() -> Iterator[bytes]:
        for _ in range(280):
            yield piece

    uploaded = person.http.post("/files/?name=large.bin", content=pieces(), timeout=120)
    assert uploaded.status_code == 201, uploaded.text
    file = uploaded.json()
    assert file["size"] == 280 * MIB
    received = 0
    with person.http.stream("GET", f"/files/{file['id']}/content/", timeout=120) as download:
        for data in download.iter_raw():
            received += len(data)
    assert received == 280 * MIB
    assert resident_bytes(system) - before < MOST_MORE_BYTES
    assert person.http.delete(f"/files/{file['id']}/").status_code == 204


@pytest.mark.parametrize(
    ("with_token", "size", "status", "code"),
    [
        (False, 10**12, 401, "not_authenticated"),
        (True, LIMIT + 1, 413, "file_too_large"),
        (True, 10**15, 413, "file_too_large"),
    ],
)
def test_a_refusal_does_not_wait_for_the_body(
    system: Live, person: User, with_token: bool, size: int, status: int, code: str
) -> None:
    line = "POST /api/files/?name=a"
    user = person if with_token else None
    with request(system, user, line, f"Content-Length: {size}") as connection:
        answered, body, response = answer_of(connection)
    assert (answered, body["code"]) == (status, code)
    assert response.headers["Connection"] == "close"


def test_a_file_beyond_the_quota_is_refused_before_its_body(system: Live, person: User) -> None:
    line = "POST /api/files/?name=a"
    reserved = {"Upload-Complete": "?0", "Upload-Length": str(LIMIT)}
    begun = person.http.post("/files/?name=b", headers=reserved)
    assert begun.status_code == 201
    with request(system, person, line, f"Content-Length: {LIMIT}") as connection:
        status, body, response = answer_of(connection)
    assert (status, body["code"]) == (507, "files_limit_exceeded")
    assert response.headers["Connection"] == "close"
    assert person.http.delete(begun.headers["Location"]).status_code == 204


def test_expect_100_continue(system: Live, person: User) -> None:
    line = "POST /api/files/?name=a"
    expect = ("Expect: 100-continue", "Content-Length: 3")
    with request(system, person, line, *expect) as connection:
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert answer_of(connection)[0] == 201
    with request(system, None, line, *expect) as connection:
        assert answer_of(connection)[0] == 401


def test_a_cut_upload_leaves_nothing(system: Live, person: User) -> None:
    before = len(stored(system))
    line = "POST /api/files/?name=a"
    with request(system, person, line, f"Content-Length: {5 * MIB}") as connection:
        connection.sendall(b"x" * 2 * MIB)
        assert eventually(lambda: len(stored(system)) > before)
    assert eventually(lambda: len(stored(system)) == before)
    assert used(system, person) == [0]
    assert person.http.get("/files/").json()["count"] == 0


def test_a_stalled_upload_is_cut(system: Live, person: User) -> None:
    before = len(stored(system))
    line = "POST /api/files/?name=a"
    with request(system, person, line, f"Content-Length: {5 * MIB}") as connection:
        connection.sendall(b"x" * 1000)
        status, body, _ = answer_of(connection)
    assert (status, body["code"]) == (408, "too_slow")
    assert eventually(lambda: len(stored(system)) == before)
    assert used(system, person) == [0]


def test_stalled_uploads_hold_no_thread(system: Live, person: User) -> None:
    line = "POST /api/files/?name=a"
    with ExitStack() as stack:
        for _ in range(60):
            connection = request(system, person, line, f"Content-Length: {MIB}")
            stack.enter_context(connection).sendall(b"x" * 1000)
        began = time.monotonic()
        uploaded = person.http.post("/files/?name=quick", content=b"abc")
        assert uploaded.status_code == 201
        assert time.monotonic() - began < 5
    assert eventually(lambda: used(system, person) == [3])


def test_a_reader_that_stops_is_cut_and_holds_no_thread(system: Live, person: User) -> None:
    file = person.http.post("/files/?name=a", content=b"x" * 20 * MIB).json()
    line = f"GET /api/files/{file['id']}/content/"
    with ExitStack() as stack:
        readers = [stack.enter_context(request(system, person, line)) for _ in range(20)]
        assert person.http.get(f"/files/{file['id']}/content/").content == b"x" * 20 * MIB
        time.sleep(3)
        for reader in readers:
            assert received_bytes(reader) < 20 * MIB


def received_bytes(connection: socket.socket) -> int:
    """All that comes until the server cuts the connection."""
    total = 0
    try:
        while data := connection.recv(MIB):
            total += len(data)
    except OSError:
        pass
    return total


def test_chunks_without_end_are_refused_at_the_limit(system: Live, person: User) -> None:
    before = len(stored(system))
    line = "POST /api/files/?name=a"
    chunk = b"%x\r\n%b\r\n" % (MIB, b"x" * MIB)
    with request(system, person, line, "Transfer-Encoding: chunked") as connection:
        for _ in range(LIMIT // MIB + 16):
            connection.sendall(chunk)
        status, body, response = answer_of(connection)
    assert (status, body["code"]) == (413, "file_too_large")
    assert response.headers["Connection"] == "close"
    assert eventually(lambda: len(stored(system)) == before)
    assert used(system, person) == [0]


def test_an_upload_goes_on_after_a_lost_connection(system: Live, person: User) -> None:
    data = secrets.token_bytes(3 * MIB)
    begun = person.http.post(
        "/files/?name=a", headers={"Upload-Complete": "?0", "Upload-Length": str(len(data))}
    )
    address = begun.headers["Location"]
    path = address.removeprefix(system.url)
    headers = ("Upload-Offset: 0", "Upload-Complete: ?1", f"Content-Length: {len(data)}")
    partial = "Content-Type: application/partial-upload"
    with request(system, person, f"PATCH {path}", *headers, partial) as connection:
        connection.sendall(data[: 2 * MIB])
        busy = eventually(lambda: offset_of(person, address) == 0 and sends_busy(person, address))
        assert busy, "another request may not write the upload"
    assert eventually(lambda: offset_of(person, address) > 0)
    offset = offset_of(person, address)
    last = person.http.patch(
        address,
        content=data[offset:],
        headers={
            "Upload-Offset": str(offset),
            "Upload-Complete": "?1",
            "Content-Type": "application/partial-upload",
        },
    )
    assert last.status_code == 200, last.text
    assert person.http.get(f"/files/{last.json()['id']}/content/").content == data


def offset_of(person: User, address: str) -> int:
    return int(person.http.head(address).headers["Upload-Offset"])


def sends_busy(person: User, address: str) -> bool:
    headers = {"Upload-Offset": "0", "Upload-Complete": "?0"}
    answer = person.http.patch(address, headers=headers)
    return answer.status_code == 409 and answer.json()["code"] == "upload_active"


def test_a_hundred_uploads_of_ten_users_race_for_their_quotas(system: Live) -> None:
    """Each user has room for 5 of 10 files. No byte too many is accepted, and none is lost."""
    people = [User.register(system) for _ in range(10)]
    before = len(stored(system))
    data = b"x" * 10 * MIB
    for person in people:
        # Room for 5 files is left.
        for size in (LIMIT, QUOTA - LIMIT - 5 * len(data)):
            headers = {"Upload-Complete": "?0", "Upload-Length": str(size)}
            assert person.http.post("/files/?name=rest", headers=headers).status_code == 201
    reserved = len(stored(system)) - before

    def upload(number: int) -> tuple[int, int]:
        person = people[number % 10]
        answer = person.http.post(f"/files/?name=f{number}", content=data, timeout=120)
        return number % 10, answer.status_code

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(upload, range(100)))
    for index, person in enumerate(people):
        statuses = sorted(status for number, status in answers if number == index)
        assert statuses == [201] * 5 + [507] * 5
        assert person.http.get("/files/").json()["count"] == 5
    assert used(system, *people) == [QUOTA] * 10
    sweep(system)
    assert len(stored(system)) - before == 50 + reserved


def test_curl_uploads_and_downloads_a_file(system: Live, person: User, tmp_path: Path) -> None:
    source, copy = tmp_path / "source.bin", tmp_path / "copy.bin"
    source.write_bytes(secrets.token_bytes(MIB))
    curl = ["curl", "-sS", "-H", f"Authorization: {person.http.headers['Authorization']}"]
    form = [*curl, "-F", f"file=@{source}", f"{system.url}/api/files/"]
    file = json.loads(subprocess.run(form, capture_output=True, check=True).stdout)
    assert (file["name"], file["size"]) == ("source.bin", MIB)
    content = f"{system.url}/api/files/{file['id']}/content/"
    subprocess.run([*curl, "-o", str(copy), "-r", "0-999", content], check=True)
    subprocess.run([*curl, "-o", str(copy), "-C", "-", content], check=True)
    assert copy.read_bytes() == source.read_bytes()
