"""TASKYARD_FILES_URL: a folder, or an S3 with private objects and bounded answers."""

import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage.handler import StorageHandler

from taskyard.server.env import ConfigurationError
from taskyard.server.file_storage import files_storage

HOME = Path("/srv/taskyard home")


def made(url: str | None = None, **given: Any) -> Any:
    entry = files_storage(url, home=HOME, **{"environ": {}, **given})
    return StorageHandler({"taskyard": entry})["taskyard"]


def test_the_default_is_a_folder_in_the_home_and_an_address_names_another() -> None:
    assert made().location == "/srv/taskyard home/files"
    assert made("file:///srv/other%20files").location == "/srv/other files"


def test_an_s3_of_aws_takes_its_region_and_credentials_from_the_usual_places() -> None:
    storage = made("s3://bucket", environ={"AWS_REGION": "eu-central-1"})
    assert (storage.bucket_name, storage.location) == ("bucket", "")
    assert (storage.region_name, storage.endpoint_url) == ("eu-central-1", None)
    assert storage.client_config.s3 == {"addressing_style": "auto"}
    assert storage.access_key is None


@pytest.mark.parametrize(
    ("query", "environ"),
    [
        ("?endpoint_url=http://127.0.0.1:9000", {}),
        ("", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"}),
        ("", {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000", "AWS_ENDPOINT_URL": "http://a"}),
    ],
)
def test_another_server_has_the_bucket_in_its_paths(query: str, environ: dict[str, str]) -> None:
    storage = made(f"s3://bucket/a/b/{query}", environ=environ)
    assert (storage.location, storage.endpoint_url) == ("a/b", "http://127.0.0.1:9000")
    assert storage.client_config.s3 == {"addressing_style": "path"}
    assert storage.region_name == "us-east-1"


def test_objects_are_private_and_answers_are_bounded() -> None:
    storage = made("s3://bucket", access_key="key", secret_key="secret")
    assert (storage.access_key, storage.secret_key) == ("key", "secret")
    assert (storage.default_acl, storage.querystring_auth) == (None, True)
    config = storage.client_config
    assert (config.connect_timeout, config.read_timeout) == (5, 30)
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}
    assert config.request_checksum_calculation == "when_required"
    assert config.signature_version == "s3v4"


def test_one_key_without_the_other_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="give both or none"):
        made("s3://bucket", access_key="key")


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "storages.backends.s3", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'taskyard\[s3\]'"):
        made("s3://bucket")
