"""The commands that read and write the data of an installation as a whole."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from taskyard.server.commands.shared import database_errors, new_parser, require_database
from taskyard.server.django_setup import load_django
from taskyard.server.env import ConfigurationError


def backup(arguments: Sequence[str]) -> int:
    """Write the database to a file, while it is in use."""
    parser = new_parser("backup")
    parser.add_argument("file", type=Path, help="is replaced when the backup is whole")
    parser.add_argument(
        "--files", type=Path, metavar="FOLDER", help="also copy the bytes of files into this folder"
    )
    options = parser.parse_args(arguments)
    file: Path = options.file
    require_database()
    load_django()
    from taskyard.server import backup as backups

    with database_errors():
        counts = backups.backup(file, files=options.files)
    print(f"{file}: {file.stat().st_size:,} bytes")
    if options.files is None:
        if counts.there:
            print(f"{counts.there:,} files are not in it: --files copies them", file=sys.stderr)
        return 0
    print(f"{options.files}: {counts.new:,} files copied, {counts.there:,} there already")
    return _missing(counts.missing)


def restore(arguments: Sequence[str]) -> int:
    """Replace the database by that of a backup."""
    parser = new_parser("restore")
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--as-copy", action="store_true", help="for use beside the original, with an id of its own"
    )
    parser.add_argument(
        "--files", type=Path, metavar="FOLDER", help="also copy back the bytes of files"
    )
    options = parser.parse_args(arguments)
    load_django()
    from taskyard.server import backup as backups

    with database_errors():
        counts = backups.restore(options.file, as_copy=options.as_copy, files=options.files)
    print(f"{options.file} is restored")
    if counts is None:
        return 0
    print(f"{counts.new:,} files copied, {counts.there:,} there already")
    return _missing(counts.missing)


def _missing(keys: Sequence[str]) -> int:
    """Print the files without bytes; the exit code."""
    for key in keys:
        print(f"{key}: there are no bytes of this file", file=sys.stderr)
    return 1 if keys else 0


def reconcile(arguments: Sequence[str]) -> int:
    """Compare the record of files with the storage; 1 if something is wrong."""
    parser = new_parser("reconcile")
    parser.add_argument(
        "--check-digests", action="store_true", help="also read all bytes and check their SHA-256"
    )
    parser.add_argument(
        "--delete", action="store_true", help="delete bytes that have no row for an hour or longer"
    )
    options = parser.parse_args(arguments)
    require_database()
    load_django()
    from django.apps import apps

    if not apps.is_installed("taskyard.files"):
        raise ConfigurationError("taskyard.files is not in INSTALLED_APPS")
    from taskyard.files import errors
    from taskyard.files import reconcile as files

    with database_errors():
        try:
            counts = files.reconcile(
                lambda wrong, text: print(f"{wrong}: {text}"),
                check_digests=options.check_digests,
                delete_unknown=options.delete,
            )
        except errors.StorageUnavailable as error:
            raise ConfigurationError(f"the storage cannot be used: {error.__cause__}") from None
    print(f"{counts['rows']:,} rows and {counts['keys']:,} keys were compared")
    wrong = {kind: counts[kind] for kind in files.Wrong if counts[kind]}
    print("; ".join(f"{kind}: {count:,}" for kind, count in wrong.items()) or "nothing is wrong")
    if counts["deleted"]:
        print(f"{counts['deleted']:,} deleted")
    return 1 if sum(wrong.values()) > counts["deleted"] else 0


def export(arguments: Sequence[str]) -> int:
    """Write all tasks, users and settings of staff as JSON lines, while the database is in use."""
    parser = new_parser("export")
    parser.add_argument("file", nargs="?", default="-", help="a new file; - is standard output")
    parser.add_argument(
        "--secrets", action="store_true", help="with the hashes of the users' passwords"
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--resume", action="store_true", help="continue the file of an interrupted export"
    )
    place.add_argument("--after", metavar="KIND:ID", help="only what comes after task:17, or so")
    parser.add_argument(
        "--files", type=Path, metavar="FOLDER", help="with files, their bytes in this folder"
    )
    options = parser.parse_args(arguments)
    require_database()
    load_django()
    from taskyard.core.transfer.lines import Position
    from taskyard.server import export_file

    try:
        after = None if options.after is None else Position.parse(options.after)
    except ValueError as error:
        parser.error(str(error))
    if options.resume and (options.secrets or options.file == "-"):
        parser.error("--resume takes a file, and continues it with or without secrets")
    with database_errors():
        written = (
            export_file.resume(options.file, files=options.files)
            if options.resume
            else export_file.export(
                options.file, after=after, secrets=options.secrets, files=options.files
            )
        )
        left_out = 0 if options.files else export_file.files_left_out()
    print(f"exported: {_counted(written)}", file=sys.stderr)
    if left_out:
        print(f"{left_out:,} files are left out: --files exports them", file=sys.stderr)
    if written[export_file.DAMAGED]:
        print("taskyard reconcile names the damaged files", file=sys.stderr)
    return 1 if written[export_file.DAMAGED] else 0


def import_(arguments: Sequence[str]) -> int:
    """Add what is in the file of an export to the database; change nothing that is there."""
    parser = new_parser("import")
    parser.add_argument("file", help="the file of an export; - is standard input")
    parser.add_argument(
        "--new-ids", action="store_true", help="give each task a new id, if the old ones are taken"
    )
    parser.add_argument(
        "--files", type=Path, metavar="FOLDER", help="where the bytes of an export with files are"
    )
    options = parser.parse_args(arguments)
    require_database()
    load_django()
    from taskyard.server import export_file

    with database_errors():
        counts = export_file.read(options.file, new_ids=options.new_ids, files=options.files)
    print(f"imported: {_counted(counts.new)}; there already: {_counted(counts.there)}")
    if counts.lost:
        print(f"{counts.lost:,} tasks that ran had no attempt left and ended in error")
    if counts.missing_files:
        print(f"{counts.missing_files:,} files of tasks are missing, or belong to others")
    return 0


def _counted(counts: Mapping[str, int]) -> str:
    """The numbers of lines: `2 user, 17 task`."""
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items()) or "nothing"


def audit(arguments: Sequence[str]) -> int:
    """Write the audit log to standard output as JSON lines, oldest first."""
    parser = new_parser("audit")
    for name, text in (("since", "from this time on"), ("until", "before this time")):
        parser.add_argument(f"--{name}", metavar="TIME", help=f"{text}, in UTC: 2026-11-28T12:00")
    parser.add_argument("--by", default="", metavar="NAME", help="the deeds of this user")
    parser.add_argument("--action", default="", help="such as log_in_failed")
    options = parser.parse_args(arguments)
    require_database()
    load_django()
    from taskyard.core import audit as log

    try:
        since, until = (
            None if text is None else log.parse_time(text)
            for text in (options.since, options.until)
        )
    except ValueError as error:
        parser.error(str(error))
    search = log.Search(by_name=options.by, action=options.action, since=since, until=until)
    with database_errors(), _closed_pipe():
        for piece in log.export(search):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    return 0


@contextmanager
def _closed_pipe() -> Iterator[None]:
    """End quietly if the reader of standard output has seen enough, as `head` has."""
    try:
        yield
    except BrokenPipeError:
        # Else Python would try again to write the rest when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
