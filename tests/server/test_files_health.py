"""`taskyard doctor` and /readyz say whether the storage of files takes files."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from taskyard.server import doctor, health
from tests.faults.proxy import Mode, Proxy
from tests.files.conftest import using
from tests.files.storages import KEYS, S3, Folder
from tests.live_system import Live, run_taskyard
from tests.servers import s3

pytestmark = pytest.mark.django_db


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = health.Probe(health.files_state, away="away")
    monkeypatch.setattr(health, "files", probe)
    monkeypatch.setattr(health, "TIMEOUT_SECONDS", 20)


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    with s3() as address:
        yield address


def state() -> Any:
    return json.loads(health.readiness().content)["files"]


def test_a_folder_that_can_be_written_is_fine(tmp_path: Path, no_cache: None) -> None:
    with using(Folder(tmp_path / "files").entry):
        assert doctor.files() == (True, f"the folder {tmp_path}/files takes files")
        assert state() == "ok"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, no_cache: None) -> None:
    (tmp_path / "files").write_text("a file where the folder is expected")
    with using(Folder(tmp_path / "files").entry):
        is_fine, detail = doctor.files()
        assert not is_fine
        assert str(tmp_path / "files") in detail
        assert state() == "away"


def test_an_s3_that_is_away_is_named(s3_server: str, no_cache: None) -> None:
    with Proxy(s3_server) as proxy, using(S3(s3_server, proxy.url).entry):
        assert doctor.files()[0]
        assert state() == "ok"
        proxy.become(Mode.REFUSE)
        assert doctor.files() == (False, f"S3 at {proxy.url} cannot be reached")
        assert state() == "away"


@pytest.mark.servers
def test_an_s3_that_is_away_stops_no_submit(s3_server: str, new_live: Callable[..., Live]) -> None:
    with Proxy(s3_server) as proxy:
        bucket = S3(s3_server, proxy.url)
        keys = {f"TASKYARD_FILES_{name.upper()}": value for name, value in KEYS.items()}
        proxy.become(Mode.REFUSE)
        live = new_live(TASKYARD_FILES_URL=bucket.url, **keys)
        answer = httpx.get(f"{live.url}/readyz", timeout=10)
        assert (answer.status_code, answer.json()["files"]) == (200, "away")
        assert f"S3 at {proxy.url} cannot be reached" in live.log.read_text()
        proxy.become(Mode.PASS)
        found = run_taskyard(live.env, "doctor").stdout
        assert f"ok     files       the bucket {bucket.bucket} takes files" in found
