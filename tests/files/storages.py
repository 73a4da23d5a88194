"""The storages that the tests of files run on, as a test sees them past the product."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import boto3
from django.core.files import File
from django.core.files.storage import Storage

from taskyard.server.file_storage import files_storage

KEYS = {"access_key": "test-access-key", "secret_key": "test-secret-key"}


class Stored(Protocol):
    """The bytes that a storage has. ``entry`` is that of Django's STORAGES."""

    entry: dict[str, Any]

    def keys(self) -> set[str]: ...

    def data(self, key: str) -> bytes: ...

    def unfinished(self) -> int: ...


class Folder:
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entry = files_storage(path.as_uri(), home=path)

    def keys(self) -> set[str]:
        files = (path for path in self.path.rglob("*") if path.is_file())
        return {str(path.relative_to(self.path)) for path in files}

    def data(self, key: str) -> bytes:
        return (self.path / key).read_bytes()

    def unfinished(self) -> int:
        return 0


class OtherStorage(Storage):
    """What a host may have written: the least that Django asks of a storage."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def _open(self, name: str, mode: str = "rb") -> File:
        if mode != "rb":
            raise ValueError("this storage opens files for reading only")
        return File((self._root / name).open("rb"), name)

    def _save(self, name: str, content: File) -> str:
        (self._root / name).parent.mkdir(parents=True, exist_ok=True)
        with (self._root / name).open("xb") as target:
            for chunk in content.chunks():
                target.write(chunk)
        return name

    def delete(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    def exists(self, name: str) -> bool:
        return (self._root / name).exists()

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        entries = list((self._root / path).iterdir())
        folders = [entry.name for entry in entries if entry.is_dir()]
        return folders, [entry.name for entry in entries if entry.is_file()]


class Other(Folder):
    """A storage that is neither a folder nor S3."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.entry = {
            "BACKEND": f"{__name__}.{OtherStorage.__name__}",
            "OPTIONS": {"root": str(path)},
        }


class S3:
    """A new bucket on a server that speaks S3's protocol, at another address if there is one."""

    def __init__(self, server: str, address: str | None = None) -> None:
        self.bucket = f"files-{uuid4().hex[:12]}"
        self.url = f"s3://{self.bucket}/of/tasks?endpoint_url={address or server}"
        self.client = boto3.client(
            "s3",
            endpoint_url=server,
            region_name="us-east-1",
            aws_access_key_id=KEYS["access_key"],
            aws_secret_access_key=KEYS["secret_key"],
        )
        self.client.create_bucket(Bucket=self.bucket)
        self.entry = files_storage(self.url, home=Path("/"), environ={}, **KEYS)

    def keys(self) -> set[str]:
        found = self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        assert all(entry["Key"].startswith("of/tasks/") for entry in found)
        return {entry["Key"].removeprefix("of/tasks/") for entry in found}

    def data(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=f"of/tasks/{key}")["Body"].read()

    def unfinished(self) -> int:
        return len(self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []))


def kinds(server: Callable[[], str], folder: Path) -> dict[str, Callable[[], Stored]]:
    return {
        "folder": lambda: Folder(folder),
        "s3": lambda: S3(server()),
        "other": lambda: Other(folder),
    }
