"""The files of `taskyard export` and `taskyard import`; "-" is standard output or input."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from django.apps import apps

from taskyard.core.installation import installation_id
from taskyard.core.transfer import exporter, importer, lines
from taskyard.core.transfer.lines import BadLine, End, Header, Position
from taskyard.files.errors import StorageFull, StorageUnavailable
from taskyard.server.env import ConfigurationError

STANDARD = "-"
# What an export counts beside its lines: files without their bytes, which it leaves out.
DAMAGED = "damaged file"


def export(name: str, *, after: Position | None, secrets: bool, files: Path | None) -> Counter[str]:
    """Write a new file. Raises ConfigurationError if it cannot be written, or is there already."""
    outgoing = _outgoing(files)
    with _file_errors(name):
        if name == STANDARD:
            written = _export(sys.stdout.buffer, outgoing, after=after, secrets=secrets)
            sys.stdout.buffer.flush()
            return written
        created = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(created, "wb") as file:
            written = _export(file, outgoing, after=after, secrets=secrets)
            _sync(file)
            return written


def resume(name: str, *, files: Path | None) -> Counter[str]:
    """Continue a file after its last whole line. Raises ConfigurationError."""
    with _file_errors(name), open(name, "r+b") as file:
        header, last, size = _whole_lines(name, file)
        if header is not None and header.files != (files is not None):
            which = "with" if header.files else "without"
            raise ConfigurationError(f"{name}: this export was begun {which} --files")
        if isinstance(last, End):
            return Counter()
        if header is not None and header.source != installation_id():
            raise ConfigurationError(f"{name}: this is an export of another installation")
        file.truncate(size)
        file.seek(size)
        written = _export(
            file,
            _outgoing(files),
            after=None if last is None else Position.after(last),
            header=header is None,
            secrets=header is not None and header.secrets,
        )
        _sync(file)
        return written


def read(name: str, *, new_ids: bool, files: Path | None) -> importer.Imported:
    """Import a file. Raises ConfigurationError."""
    incoming = None if files is None else _transfer().Incoming(files)
    with _file_errors(name):
        if name == STANDARD:
            return importer.import_lines(sys.stdin.buffer, new_ids=new_ids, files=incoming)
        with open(name, "rb") as file:
            return importer.import_lines(file, new_ids=new_ids, files=incoming)


def _outgoing(files: Path | None) -> Any:
    """What writes files into this folder. Raises ConfigurationError."""
    return None if files is None else _transfer().Outgoing(files)


def _export(file: IO[bytes], outgoing: Any, **options: Any) -> Counter[str]:
    written = exporter.export(file, files=outgoing, **options)
    if outgoing is not None and outgoing.damaged:
        written[DAMAGED] = len(outgoing.damaged)
    return written


def _transfer() -> ModuleType:
    """The part of the app of files, which a host project may lack. Raises ConfigurationError."""
    if not apps.is_installed("taskyard.files"):
        raise ConfigurationError("taskyard.files is not in INSTALLED_APPS")
    from taskyard.files import transfer

    return transfer


def _whole_lines(name: str, file: IO[bytes]) -> tuple[Header | None, lines.Line | None, int]:
    """The header, the last whole line, and the bytes up to its end."""
    first = last = b""
    number = size = 0
    for raw in file:
        if not raw.endswith(b"\n"):
            break
        first = first or raw
        last = raw
        number += 1
        size += len(raw)
    if not number:
        return None, None, 0
    header = lines.parse(1, first)
    if not isinstance(header, Header):
        raise ConfigurationError(f"{name}: this is no export of Taskyard")
    return header, lines.parse(number, last), size


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _file_errors(name: str) -> Iterator[None]:
    """Turn errors of the file into ConfigurationError."""
    try:
        yield
    except BadLine as error:
        done = f"; the lines up to {error.imported} are imported" if error.imported else ""
        raise ConfigurationError(f"{name}: {error}{done}") from None
    except FileExistsError:
        raise ConfigurationError(
            f"{name}: this file exists; --resume continues an interrupted export"
        ) from None
    except BrokenPipeError:
        # Else Python would try again to write the rest when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise ConfigurationError(f"{name}: the reader has closed the pipe") from None
    except (StorageFull, StorageUnavailable) as error:
        raise ConfigurationError(f"the storage of files: {error.__cause__}") from None
    except OSError as error:
        raise ConfigurationError(f"{error.filename or name}: {error.strerror}") from None


def files_left_out() -> int:
    """How many files an export has that is made without a folder for them."""
    return _transfer().exported().count() if apps.is_installed("taskyard.files") else 0
