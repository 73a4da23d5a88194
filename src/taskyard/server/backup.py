"""`taskyard backup` and `taskyard restore`: the database as one file, and back."""

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
from taskyard.server.env import ConfigurationError

NOT_OURS = "this is no backup of Taskyard"


def backup(file: Path) -> None:
    """Write the database to the file, whole or not at all; it may be in use meanwhile.

    Raises ConfigurationError.
    """
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


def restore(file: Path, *, as_copy: bool) -> None:
    """Replace the database by that of a backup, and bring it to the current version.

    ``as_copy`` gives it an id of its own, for use beside the original. Raises ConfigurationError.
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


# SQLite


def _backup_sqlite(draft: Path) -> None:
    with closing(sqlite3.connect(connection.settings_dict["NAME"])) as source:
        # One read transaction: consistent, and nobody who writes waits for it.
        source.execute("VACUUM INTO ?", [str(draft)])


def _restore_sqlite(file: Path) -> None:
    target_path = Path(connection.settings_dict["NAME"])
    target_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _opened(file) as source, closing(sqlite3.connect(target_path, timeout=1)) as target:
        _check_migrations(source.execute("SELECT app, name FROM django_migrations").fetchall())
        try:
            # SQLite leaves WAL only when no other process has the file open.
            target.execute("PRAGMA journal_mode=DELETE")
            source.backup(target)
        except sqlite3.OperationalError as error:
            raise ConfigurationError(
                f"{target_path} is in use ({error}): stop taskyard first"
            ) from None
    target_path.chmod(0o600)


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as source:
            source.execute("SELECT count(*) FROM taskyard_task").fetchone()
            if source.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise ConfigurationError(f"{file}: the backup is damaged")
            yield source
    except sqlite3.DatabaseError as error:
        raise ConfigurationError(f"{file}: {NOT_OURS}: {error}") from None


# PostgreSQL, by its own tools


def _backup_postgresql(draft: Path) -> None:
    _run("pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={draft}", _where())


def _restore_postgresql(file: Path) -> None:
    _check_migrations(_dumped_migrations(file))
    if others := _others():
        raise ConfigurationError(
            f"the database is in use by {others} other connections: stop web and workers first"
        )
    connection.close()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "restore.sql"
        _run("pg_restore", "--no-owner", "--no-privileges", f"--file={script}", str(file))
        # One transaction: after a failure all is as it was.
        _run(
            *("psql", "--quiet", "--no-psqlrc", "--output", os.devnull, "--single-transaction"),
            *("--set", "ON_ERROR_STOP=1", f"--command={_drop()}", f"--file={script}", _where()),
        )


def _dumped_migrations(file: Path) -> list[tuple[str, str]]:
    try:
        text = _run("pg_restore", "--data-only", "--table=django_migrations", "--file=-", str(file))
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {NOT_OURS}: {error}") from None
    lines = iter(text.splitlines())
    copied = next((line for line in lines if line.startswith("COPY ")), None)
    if copied is None:
        raise ConfigurationError(f"{file}: {NOT_OURS}")
    names = copied.partition("(")[2].partition(")")[0].split(", ")
    rows = [dict(zip(names, line.split("\t"), strict=False)) for line in lines if "\t" in line]
    return [(row["app"], row["name"]) for row in rows]


def _others() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return int(cursor.fetchone()[0])


def _drop() -> str:
    """The tables that are there, also those that the backup does not know yet."""
    tables = connection.introspection.table_names()
    ours = {*connection.introspection.django_table_names(), "django_migrations"}
    quoted = ", ".join(connection.ops.quote_name(name) for name in tables if name in ours)
    connection.close()
    return f"DROP TABLE {quoted} CASCADE" if quoted else "SELECT"


def _where() -> str:
    """Where the database is, as libpq reads it; the password goes another way."""
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    given = connection.get_connection_params().items()
    left_out = ("password", "options", "connect_timeout", "tcp_user_timeout")
    kept = {name: value for name, value in given if name in known and name not in left_out}
    return f"--dbname={make_conninfo('', **kept)}"


def _run(program: str, *arguments: str) -> str:
    """What the program printed. Raises ConfigurationError with the last line of its errors."""
    password = connection.get_connection_params().get("password")
    environment = {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}
    try:
        done = subprocess.run(
            [program, *arguments], env=environment, capture_output=True, check=False
        )
    except FileNotFoundError:
        raise ConfigurationError(
            f"{program} is not installed: it comes with PostgreSQL's client, postgresql-client"
        ) from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise ConfigurationError(_worst(lines) or f"{program} ended with {done.returncode}")
    return done.stdout.decode(errors="replace")


def _worst(lines: list[str]) -> str:
    errors = (line for line in lines if "error:" in line.lower())
    return next(errors, lines[0] if lines else "")


def _check_migrations(found: list[tuple[str, str]]) -> None:
    """Raise ConfigurationError for a backup that was made by a version still to come."""
    loader = MigrationLoader(None)
    known = set(loader.disk_migrations)
    for app, name in found:
        if app in loader.migrated_apps and (app, name) not in known:
            raise ConfigurationError(f"the backup is of a newer version: it has {app}.{name}")
