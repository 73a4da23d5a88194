"""Files of a user, written as an upload writes them, in each kind of storage."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskyard.accounts.models import User
from taskyard.core.types import UserId
from taskyard.files.models import StoredFile
from taskyard.files.writing import Writer, begin
from tests import servers
from tests.conftest import TEST_DB
from tests.files.storages import Stored, kinds

pytestmark = pytest.mark.django_db

Upload = Callable[..., StoredFile]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on each kind of storage, on a folder only if it asks for one, or on those that
    its module names. Beside SQLite, on the first of them: other storages do not depend on the
    database."""
    if "stored" in metafunc.fixturenames:
        every = getattr(metafunc.module, "STORAGES", ("folder", "s3", "other"))
        is_first = "folder" in metafunc.fixturenames or TEST_DB == "sqlite"
        chosen = every[:1] if is_first else every
        metafunc.parametrize("stored", chosen, indirect=True)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    with servers.s3() as address:
        yield address


@pytest.fixture(autouse=True)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stored]:
    """A storage of the test's own for the bytes."""
    made = kinds(lambda: request.getfixturevalue("s3_server"), tmp_path / "files")
    chosen = made[request.param]()
    with using(chosen.entry):
        yield chosen


def using(entry: dict[str, Any]) -> Any:
    """Keep files in this storage."""
    from django.core.files.storage import storages
    from django.test import override_settings

    return override_settings(STORAGES={**storages.backends, "taskyard": entry})


@pytest.fixture
def folder(stored: Stored, tmp_path: Path) -> Path:
    """The folder with the bytes; the test does not run on other storages."""
    return tmp_path / "files"


@pytest.fixture
def owner_id(db: None) -> UserId:
    return User.objects.create(username="owner", password="!").pk


@pytest.fixture
def other_id(db: None) -> UserId:
    return User.objects.create(username="other", password="!").pk


@pytest.fixture
def upload(owner_id: UserId) -> Upload:
    def upload(
        data: bytes = b"a,b\n1,2\n", name: str = "data.csv", owner: UserId = owner_id
    ) -> StoredFile:
        writer = Writer(begin(owner, name, size=len(data)), is_size_known=True)
        writer.write(data)
        return writer.complete()

    return upload
