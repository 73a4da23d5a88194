"""Django system checks: the storage of files that a project has chosen."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import InvalidStorageError, storages

from taskyard.core.conf import conf
from taskyard.files import storage


@register()
def check_storage(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    if storage.ALIAS not in storages.backends:
        return [
            Error(
                "Taskyard does not know where to keep files.",
                hint=f"Add {storage.ALIAS!r} to STORAGES: a folder that no server shows, or an S3.",
                id="taskyard_files.E001",
            )
        ]
    try:
        storage.storage()
    except (InvalidStorageError, ImproperlyConfigured, ImportError, TypeError) as error:
        return [
            Error(
                f"STORAGES[{storage.ALIAS!r}] cannot be used: {error}",
                hint="For S3: pip install 'taskyard[s3]'.",
                id="taskyard_files.E002",
            )
        ]
    return [*_check_folder(), *_check_s3()]


def _check_folder() -> Iterator[CheckMessage]:
    root = storage.folder()
    if root is None:
        return
    if root == Path.cwd():  # where a folder without a location is if MEDIA_ROOT is not set
        yield Error(
            f"The files of tasks are in {root}, beside the code.",
            hint=f"Give STORAGES[{storage.ALIAS!r}] a location of its own.",
            id="taskyard_files.E003",
        )
    for name, public in _public_folders():
        if root.resolve().is_relative_to(public.resolve()):
            yield Error(
                f"The files of tasks are in {root}, which {name} shows without a login.",
                hint=f"Give STORAGES[{storage.ALIAS!r}] a location of its own.",
                id="taskyard_files.E003",
            )
    existing = root
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        yield Warning(
            f"This user cannot write the files of tasks into {root}.",
            hint=f"Let the user of the web and of the workers write into {existing}.",
            id="taskyard_files.W001",
        )


def _check_s3() -> Iterator[CheckMessage]:
    in_s3 = storage.bucket()
    if in_s3 is not None and in_s3.is_public:
        yield Error(
            f"The files of tasks in the bucket {in_s3.name} could be read without credentials.",
            hint="Set default_acl to None and querystring_auth to True, without custom_domain.",
            id="taskyard_files.E004",
        )
    if in_s3 is None and conf().FILES_DIRECT:
        yield Warning(
            "TASKYARD['FILES_DIRECT'] has no effect: the files are not in S3.",
            hint="Remove it, or keep the files in S3.",
            id="taskyard_files.W002",
        )


def _public_folders() -> Iterator[tuple[str, Path]]:
    for name in ("MEDIA_ROOT", "STATIC_ROOT"):
        if root := getattr(settings, name, None):
            yield name, Path(root)
    for entry in getattr(settings, "STATICFILES_DIRS", ()):
        yield "STATICFILES_DIRS", Path(entry[1] if isinstance(entry, tuple) else entry)
