"""`taskyard backup` and `taskyard restore`: write the database to one file and read it back.

The bytes of files are copied before and after the database. So each row in the backup has its bytes
in the folder, unless its file was made and deleted while the backup ran.
"""

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo

from taskyard.core import changes
from taskyard.core.models import Installation
from taskyard.files import copies
from taskyard.files.copies import Copied
from taskyard.files.errors import StorageFull, StorageUnavailable
from taskyard.files.models import State, StoredFile
from taskyard.server.env import ConfigurationError

NOT_OURS = "this is no backup of Taskyard"


def backup(file: Path, *, files: Path | None = None) -> Copied:
    """Write the database to a file, which is replaced atomically, and the bytes to a folder.

    Both may be in use. Without a folder, the files that were not copied are counted as ``there``.
    Raises ConfigurationError.
    """
    if files is None:
        _backup_database(file)
        return Copied(0, StoredFile.objects.filter(state=State.READY).count(), [])
    with _storage_errors(files):
        first = copies.copy_to(files)
        _backup_database(file)
        second = copies.copy_to(files)
    return Copied(first.new + second.new, first.there, second.missing)


def _backup_database(file: Path) -> None:
    write = _backup_sqlite if connection.vendor == "sqlite" else _backup_postgresql
    try:
        folder = tempfile.mkdtemp(dir=file.parent, prefix=".taskyard-backup-")
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    try:
        draft = Path(folder) / "draft"
        write(draft)
        draft.chmod(0o600)
        draft.replace(file)
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def restore(file: Path, *, as_copy: bool, files: Path | None = None) -> Copied | None:
    """Replace the database by that of a backup, then migrate it and copy the bytes of files back.

    ``as_copy`` gives the installation a new id, for use beside the original. Raises
    ConfigurationError.
    """
    if not file.is_file():
        raise ConfigurationError(f"{file}: there is no such file")
    if connection.vendor == "sqlite":
        _restore_sqlite(file)
    else:
        _restore_postgresql(file)
    connection.close()
    call_command("migrate", verbosity=0, interactive=False)
    changes.forget_another_cluster()
    if as_copy:
        Installation.objects.all().delete()
    if files is None:
        return None
    with _storage_errors(files):
        return copies.copy_from(files)


@contextmanager
def _storage_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{folder}: {error.strerror}") from None
    except (StorageFull, StorageUnavailable) as error:
        raise ConfigurationError(f"the storage of files: {error.__cause__}") from None


# SQLite


def _backup_sqlite(draft: Path) -> None:
    with closing(sqlite3.connect(connection.settings_dict["NAME"])) as source:
        # One read transaction: the copy is consistent, and no writer waits for it.
        source.execute("VACUUM INTO ?", [str(draft)])


def _restore_sqlite(file: Path) -> None:
    target_path = Path(connection.settings_dict["NAME"])
    target_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _open_backup(file) as source, closing(sqlite3.connect(target_path, timeout=1)) as target:
        _check_migrations(source.execute("SELECT app, name FROM django_migrations").fetchall())
        try:
            # SQLite can leave WAL mode only if no other process has the file open.
            target.execute("PRAGMA journal_mode=DELETE")
            source.backup(target)
        except sqlite3.OperationalError as error:
            raise ConfigurationError(
                f"{target_path} is in use ({error}): stop taskyard first"
            ) from None
    target_path.chmod(0o600)


@contextmanager
def _open_backup(file: Path) -> Iterator[sqlite3.Connection]:
    """Open a backup and check it. Raises ConfigurationError."""
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as source:
            source.execute("SELECT count(*) FROM taskyard_task").fetchone()
            if source.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise ConfigurationError(f"{file}: the backup is damaged")
            yield source
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(f"{file}: {NOT_OURS}: {error}") from None


# PostgreSQL, with pg_dump, pg_restore and psql


def _backup_postgresql(draft: Path) -> None:
    _run(
        "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={draft}", _dbname()
    )


def _restore_postgresql(file: Path) -> None:
    _check_migrations(_dumped_migrations(file))
    if others := _other_connections():
        raise ConfigurationError(
            f"the database is in use by {others} other connections: stop web and workers first"
        )
    connection.close()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "restore.sql"
        _run("pg_restore", "--no-owner", "--no-privileges", f"--file={script}", str(file))
        # In one transaction, so that a failure changes nothing.
        _run(
            *("psql", "--quiet", "--no-psqlrc", "--output", os.devnull, "--single-transaction"),
            *(
                "--set",
                "ON_ERROR_STOP=1",
                f"--command={_drop_tables()}",
                f"--file={script}",
                _dbname(),
            ),
        )


def _dumped_migrations(file: Path) -> list[tuple[str, str]]:
    """The applied migrations of a dump, as app and name."""
    try:
        text = _run("pg_restore", "--data-only", "--table=django_migrations", "--file=-", str(file))
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {NOT_OURS}: {error}") from None
    lines = iter(text.splitlines())
    copy = next((line for line in lines if line.startswith("COPY ")), None)
    if copy is None:
        raise ConfigurationError(f"{file}: {NOT_OURS}")
    names = copy.partition("(")[2].partition(")")[0].split(", ")
    rows = [dict(zip(names, line.split("\t"), strict=False)) for line in lines if "\t" in line]
    return [(row["app"], row["name"]) for row in rows]


def _other_connections() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return int(cursor.fetchone()[0])


def _drop_tables() -> str:
    """SQL that drops all tables of Taskyard, also those that the backup does not have."""
    tables = connection.introspection.table_names()
    ours = {*connection.introspection.django_table_names(), "django_migrations"}
    quoted = ", ".join(connection.ops.quote_name(name) for name in tables if name in ours)
    connection.close()
    return f"DROP TABLE {quoted} CASCADE" if quoted else "SELECT"


def _dbname() -> str:
    """The option with the connection string for libpq, without the password."""
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    left_out = ("password", "options", "connect_timeout", "tcp_user_timeout")
    params = {
        name: value
        for name, value in connection.get_connection_params().items()
        if name in known and name not in left_out
    }
    return f"--dbname={make_conninfo('', **params)}"


def _run(program: str, *arguments: str) -> str:
    """Run a program; its output. Raises ConfigurationError with the first line of its errors."""
    password = connection.get_connection_params().get("password")
    environment = {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}
    try:
        result = subprocess.run(
            [program, *arguments], env=environment, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise ConfigurationError(
            f"{program} is not installed: it comes with PostgreSQL's client, postgresql-client"
        ) from None
    if result.returncode:
        lines = result.stderr.decode(errors="replace").strip().splitlines()
        raise ConfigurationError(_first_error(lines) or f"{program} ended with {result.returncode}")
    return result.stdout.decode(errors="replace")


def _first_error(lines: list[str]) -> str:
    """The first line that names an error, or else the first line."""
    errors = (line for line in lines if "error:" in line.lower())
    return next(errors, lines[0] if lines else "")


def _check_migrations(applied: list[tuple[str, str]]) -> None:
    """Raise ConfigurationError if a newer version made the backup."""
    loader = MigrationLoader(None)
    known = set(loader.disk_migrations)
    for app, name in applied:
        if app in loader.migrated_apps and (app, name) not in known:
            raise ConfigurationError(f"the backup is of a newer version: it has {app}.{name}")
