"""Where the bytes of files are: TASKYARD_FILES_URL as an entry of Django's STORAGES."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from taskyard.server.env import ConfigurationError

# An answer of S3 is awaited for so long, twice.
CONNECT_SECONDS = 5
READ_SECONDS = 30
TRIES = 2


def files_storage(
    url: str | None,
    *,
    home: Path,
    access_key: str | None = None,
    secret_key: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> dict[str, Any]:
    """The storage at an address; by default a folder in TASKYARD_HOME.

    Raises ConfigurationError, also if an S3 is named and the extra ``s3`` is not installed.
    """
    parts = urlsplit(url or (home / "files").as_uri())
    if parts.scheme == "s3":
        if bool(access_key) != bool(secret_key):
            raise ConfigurationError(
                "TASKYARD_FILES_ACCESS_KEY and TASKYARD_FILES_SECRET_KEY: give both or none"
            )
        given = dict(parse_qsl(parts.query))
        return _s3(parts.netloc, parts.path, given, (access_key, secret_key), environ)
    return {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {
            "location": unquote(parts.path),
            "file_permissions_mode": 0o600,
            "directory_permissions_mode": 0o700,
        },
    }


def _s3(
    bucket: str,
    path: str,
    given: Mapping[str, str],
    keys: tuple[str | None, str | None],
    environ: Mapping[str, str],
) -> dict[str, Any]:
    try:
        import storages.backends.s3  # noqa: F401
        from botocore.config import Config
    except ImportError:
        raise ConfigurationError(
            "TASKYARD_FILES_URL names an S3, which needs an extra: pip install 'taskyard[s3]'"
        ) from None
    endpoint = (
        given.get("endpoint_url")
        or environ.get("AWS_ENDPOINT_URL_S3")
        or environ.get("AWS_ENDPOINT_URL")
    )
    region = (
        given.get("region_name") or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    )
    # Other servers than AWS have the bucket in the path, and no host name for each.
    style: Any = given.get("addressing_style") or ("path" if endpoint else "auto")
    options = {
        "bucket_name": bucket,
        "location": unquote(path).strip("/"),
        "endpoint_url": endpoint,
        "region_name": region or ("us-east-1" if endpoint else None),
        # Nothing is public; a bucket may forbid ACLs altogether.
        "default_acl": None,
        "querystring_auth": True,
        "custom_domain": None,
        # Keys are random, so no request has to look for another file of the name.
        "file_overwrite": True,
        "gzip": False,
        "client_config": Config(
            signature_version="s3v4",
            s3={"addressing_style": style},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": TRIES},
            tcp_keepalive=True,
            # Servers that are not of AWS, or older, refuse the checksums that boto3 adds.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    }
    if keys[0]:
        # Else the usual places: AWS_ACCESS_KEY_ID, a profile, the role of the machine.
        options |= {"access_key": keys[0], "secret_key": keys[1], "security_token": None}
    return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
