"""The operator's commands of `taskyard`."""

import argparse
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskyard.operator_help import OPERATOR
from taskyard.server import env, home, logs
from taskyard.server.django_setup import load_django
from taskyard.server.env import ConfigurationError

if TYPE_CHECKING:
    import uvicorn

GRACE_SECONDS = 20
# Of an invitation, as the page of staff has it.
MOST_DAYS = 365
OUR_SETTINGS = "taskyard.server.settings"
# These commands read the environment of our own project.
OURS_ALONE = ("up", "web", "migrate", "createsuperuser", "staff", "backup", "restore", "doctor")


def up(arguments: Sequence[str]) -> int:
    """Run database, broker, migrations, web and worker until a signal."""
    _parser("up").parse_args(arguments)
    _warn_of_foreign_names()
    os.environ["TASKYARD_PROCESS"] = "command"
    from taskyard.server.up import up as run

    return run()


def web(arguments: Sequence[str]) -> int:
    """Run the web alone."""
    parser = _parser("web")
    parser.add_argument(
        "--fd", type=int, help="listen on this inherited socket instead of HOST and PORT"
    )
    parser.add_argument(
        "--listener", type=Path, help="also listen on the port that this Unix socket hands over"
    )
    options = parser.parse_args(arguments)
    _warn_of_foreign_names()
    os.environ["TASKYARD_PROCESS"] = "web"
    values = _checked()
    load_django()
    import uvicorn

    from taskyard.core import encryption

    if why := encryption.fault():
        raise ConfigurationError(f"{why}: set TASKYARD_ENCRYPTION_KEYS")
    from taskyard.server.asgi import application
    from taskyard.server.http import Protocol

    config = uvicorn.Config(
        application,
        host=values["HOST"],
        port=values["PORT"],
        http=Protocol,
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=8192,
        # Proxies keep connections longer than uvicorn's default of 5 s, and would then send a
        # request on a connection that is closed.
        timeout_keep_alive=values["TASKYARD_KEEP_ALIVE_SECONDS"],
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    server.run(sockets=_sockets(config, fd=options.fd, listener=options.listener))
    return 0 if server.started else 1


def _sockets(
    config: "uvicorn.Config", *, fd: int | None, listener: Path | None
) -> list[socket.socket] | None:
    """The sockets to listen on; None if uvicorn shall open HOST and PORT itself."""
    if fd is not None:
        return [socket.socket(fileno=fd)]
    if listener is None:
        return None
    from taskyard.server.listener import take

    try:
        return [take(listener), config.bind_socket()]
    except OSError as error:
        raise ConfigurationError(str(error)) from None


def worker(arguments: Sequence[str]) -> int:
    """Run a worker alone, or check the workers of this machine."""
    parser = _parser("worker")
    parser.add_argument(
        "--check", action="store_true", help="check that the workers here hold their leases"
    )
    if _is_host_project() and "--check" not in arguments:
        return manage(["taskyard_worker", *arguments])
    return _check_workers() if parser.parse_args(arguments).check else _exec_worker()


def _is_host_project() -> bool:
    """Whether the environment names the settings of another project than ours."""
    return os.environ.get("DJANGO_SETTINGS_MODULE", OUR_SETTINGS) != OUR_SETTINGS


def _exec_worker() -> int:
    """Replace this process by Celery's worker, because only `taskyard.worker` imports Celery."""
    _warn_of_foreign_names()
    os.environ["TASKYARD_PROCESS"] = "worker"
    values = _checked()
    from taskyard.core.conf import conf

    if conf().BROKER_URL is None:
        raise ConfigurationError("no broker: set REDIS_URL, or run `taskyard up` beside it")
    sys.stdout.flush()
    os.execv(  # noqa: S606
        sys.executable,
        [
            # An operator may run the worker as root, as containers often do.
            *(sys.executable, "-W", "ignore:You're running the worker with superuser"),
            *("-m", "celery", "--quiet", "--app", "taskyard.worker", "worker"),
            *("--pool", "prefork", "--concurrency", str(values["TASKYARD_CONCURRENCY"])),
            *("--loglevel", values["TASKYARD_LOG_LEVEL"]),
        ],
    )


def _check_workers() -> int:
    """0 if all workers of this machine or container hold their leases, else 1."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", OUR_SETTINGS)
    from taskyard.core import presence

    workers = [worker for worker in presence.seen() if worker.alive]
    without_lease = [worker for worker in workers if not worker.holds_a_lease]
    for worker in without_lease:
        why = worker.state or f"last renewed {worker.silent_seconds:.0f} s ago"
        print(f"the worker with process id {worker.pid} has no lease: {why}")
    if not without_lease:
        print(f"{len(workers)} hold their lease" if workers else "no worker runs here")
    return 0 if workers and not without_lease else 1


def _checked() -> dict[str, Any]:
    """The values of the environment, after the checks that each start makes.

    Raises ConfigurationError for unsafe settings, a broker that cannot serve and a pooler in the
    wrong mode.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", OUR_SETTINGS)
    from taskyard.core.conf import conf
    from taskyard.server import database_checks, valkey

    if (broker_url := conf().BROKER_URL) is not None:
        valkey.refuse_unusable(broker_url)
    values = env.read(os.environ)
    for warning in database_checks.warnings():
        logs.warn(warning, form=values["TASKYARD_LOG_FORMAT"])
    return values


def _warn_of_foreign_names() -> None:
    """Warn of variables that only other projects read; once, in the first process."""
    values = env.read(os.environ)
    if "TASKYARD_PROCESS" not in os.environ and (warning := env.foreign_names(os.environ)):
        logs.warn(warning, form=values["TASKYARD_LOG_FORMAT"])


def doctor(arguments: Sequence[str]) -> int:
    """Check this installation."""
    _parser("doctor").parse_args(arguments)
    _require_database()
    load_django()
    from taskyard.server.doctor import run_checks

    return run_checks()


def settings(arguments: Sequence[str]) -> int:
    """Print the table of environment variables."""
    _parser("settings").parse_args(arguments)
    print(env.markdown())
    return 0


def migrate(arguments: Sequence[str]) -> int:
    """Bring the database to the current version."""
    values = env.read(os.environ)
    home.prepare(values["TASKYARD_HOME"])
    code = manage(["migrate", *arguments])
    from taskyard.core import changes

    with _database_errors():
        changes.forget_another_cluster()
    return code


def createsuperuser(arguments: Sequence[str]) -> int:
    """Make an administrator."""
    _require_database()
    return manage(["createsuperuser", *arguments])


def staff(arguments: Sequence[str]) -> int:
    """Show all staff, or the role of one user; or give a user a role."""
    parser = _parser("staff")
    parser.add_argument("name", nargs="?", help="a user; without it, all staff are listed")
    parser.add_argument("--role", choices=("owner", "viewer", "operator"), help="the new role")
    options = parser.parse_args(arguments)
    if options.role and options.name is None:
        parser.error("--role needs the name of a user")
    _require_database()
    load_django()
    from taskyard.core.roles import Role
    from taskyard.server import staff as users

    role = None if options.role is None else Role(options.role)
    with _database_errors():
        lines = users.all_staff() if options.name is None else [users.give(options.name, role)]
    for line in lines:
        print(line)
    return 0


def audit(arguments: Sequence[str]) -> int:
    """Write the audit log to standard output as JSON lines, oldest first."""
    parser = _parser("audit")
    for name, text in (("since", "from this time on"), ("until", "before this time")):
        parser.add_argument(f"--{name}", metavar="TIME", help=f"{text}, in UTC: 2026-11-28T12:00")
    parser.add_argument("--by", default="", metavar="NAME", help="the deeds of this user")
    parser.add_argument("--action", default="", help="such as log_in_failed")
    options = parser.parse_args(arguments)
    _require_database()
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
    with _database_errors(), _closed_pipe():
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


def backup(arguments: Sequence[str]) -> int:
    """Write the database to a file, while it is in use."""
    parser = _parser("backup")
    parser.add_argument("file", type=Path, help="is replaced when the backup is whole")
    parser.add_argument(
        "--files", type=Path, metavar="FOLDER", help="also copy the bytes of files into this folder"
    )
    options = parser.parse_args(arguments)
    file: Path = options.file
    _require_database()
    load_django()
    from taskyard.server import backup as backups

    with _database_errors():
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
    parser = _parser("restore")
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

    with _database_errors():
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
    parser = _parser("reconcile")
    parser.add_argument(
        "--check-digests", action="store_true", help="also read all bytes and check their SHA-256"
    )
    parser.add_argument(
        "--delete", action="store_true", help="delete bytes that have no row for an hour or longer"
    )
    options = parser.parse_args(arguments)
    _require_database()
    load_django()
    from django.apps import apps

    if not apps.is_installed("taskyard.files"):
        raise ConfigurationError("taskyard.files is not in INSTALLED_APPS")
    from taskyard.files import errors
    from taskyard.files import reconcile as files

    with _database_errors():
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
    parser = _parser("export")
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
    _require_database()
    load_django()
    from taskyard.core.transfer.lines import Position
    from taskyard.server import export_file

    try:
        after = None if options.after is None else Position.parse(options.after)
    except ValueError as error:
        parser.error(str(error))
    if options.resume and (options.secrets or options.file == "-"):
        parser.error("--resume takes a file, and continues it with or without secrets")
    with _database_errors():
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
    parser = _parser("import")
    parser.add_argument("file", help="the file of an export; - is standard input")
    parser.add_argument(
        "--new-ids", action="store_true", help="give each task a new id, if the old ones are taken"
    )
    parser.add_argument(
        "--files", type=Path, metavar="FOLDER", help="where the bytes of an export with files are"
    )
    options = parser.parse_args(arguments)
    _require_database()
    load_django()
    from taskyard.server import export_file

    with _database_errors():
        counts = export_file.read(options.file, new_ids=options.new_ids, files=options.files)
    print(f"imported: {_counted(counts.new)}; there already: {_counted(counts.there)}")
    if counts.lost:
        print(f"{counts.lost:,} tasks that ran had no attempt left and ended in error")
    if counts.missing_files:
        print(f"{counts.missing_files:,} files of tasks are missing, or belong to others")
    return 0


def invite(arguments: Sequence[str]) -> int:
    """Make an invitation to register, and print its link."""
    parser = _parser("invite")
    parser.add_argument("--days", type=int, default=7, help="how long it is valid: 1 to 365")
    parser.add_argument("--email", default="", help="also send it to this address by mail")
    options = parser.parse_args(arguments)
    if not 1 <= options.days <= MOST_DAYS:
        parser.error(f"--days: from 1 to {MOST_DAYS}")
    _require_database()
    load_django()
    _require_accounts()
    from taskyard.server import account_commands

    with _database_errors():
        return account_commands.invite(days=options.days, email=options.email)


def change_password(arguments: Sequence[str]) -> int:
    """Set a user's password; it is read from the terminal, or from standard input."""
    parser = _parser("change-password")
    parser.add_argument("name", help="the username")
    options = parser.parse_args(arguments)
    _require_database()
    load_django()
    _require_accounts()
    from taskyard.server import account_commands

    with _database_errors():
        return account_commands.change_password(options.name)


def _require_accounts() -> None:
    """Raise ConfigurationError in a project with users of its own."""
    from django.apps import apps

    if not apps.is_installed("taskyard.accounts"):
        raise ConfigurationError("taskyard.accounts is not in INSTALLED_APPS")


def _counted(counts: Mapping[str, int]) -> str:
    """The numbers of lines: `2 user, 17 task`."""
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items()) or "nothing"


def encryption_key(arguments: Sequence[str]) -> int:
    """Print a new key for TASKYARD_ENCRYPTION_KEYS."""
    _parser("encryption-key").parse_args(arguments)
    print(home.new_encryption_key())
    return 0


def rotate_secrets(arguments: Sequence[str]) -> int:
    """Encrypt the secrets in stored inputs again; 1 if a key is missing."""
    _parser("rotate-secrets").parse_args(arguments)
    _require_database()
    load_django()
    from taskyard.core import encryption, rotation

    if not (encryption.keys() and encryption.is_installed()):
        raise ConfigurationError(
            "there is no key: set TASKYARD_ENCRYPTION_KEYS, and install taskyard[secrets]"
        )
    with _database_errors():
        counts = rotation.rotate()
    print(f"encrypted again: {counts.again:,}; were in clear: {counts.were_clear:,}")
    for key, count in counts.unreadable.items():
        print(f"key {key or '?'}: {count:,} secrets cannot be decrypted with it", file=sys.stderr)
    for key, count in counts.others.items():
        print(f"key {key or '-'}: {count:,} secrets are left; run this again", file=sys.stderr)
    if counts.unreadable or counts.others:
        return 1
    former = ", ".join(key.id for key in encryption.keys()[1:])
    print(f"all are under the key {encryption.keys()[0].id}")
    if former:
        print(f"no longer needed, once no process encrypts with them: {former}")
    return 0


def service_account(arguments: Sequence[str]) -> int:
    """Make a service account, or another key for one; print the key this once."""
    from taskyard.accounts.scopes import Scope

    parser = _parser("service-account")
    parser.add_argument("name", help="letters, digits and @.+-_")
    parser.add_argument(
        "--key",
        nargs="+",
        choices=[scope.value for scope in Scope],
        metavar="SCOPE",
        help=f"also make a key with these scopes: {', '.join(Scope)}",
    )
    parser.add_argument("--key-name", default="taskyard service-account", help="how it is listed")
    options = parser.parse_args(arguments)
    _require_database()
    load_django()
    from django.apps import apps

    if not apps.is_installed("taskyard.accounts"):
        raise ConfigurationError("taskyard.accounts is not in INSTALLED_APPS")
    from taskyard.server import service_accounts

    with _database_errors():
        made = service_accounts.make(options.name, options.key or [], key_name=options.key_name)
    state = "has been made" if made.is_new else "is there already"
    # The key alone goes to standard output, so that a script can take it.
    print(f"{made.name}: the service account {state}", file=sys.stderr)
    if made.key is not None:
        print(made.key)
    return 0


def manage(arguments: Sequence[str]) -> int:
    """Run any command of Django's."""
    load_django()
    from django.core.management import execute_from_command_line

    with nullcontext() if "--traceback" in arguments else _database_errors():
        execute_from_command_line(["taskyard manage", *arguments])
    return 0


def _require_database() -> None:
    """Raise ConfigurationError if there is no database, before the command creates one.

    A host project's settings name its database.
    """
    if _is_host_project():
        return
    values = env.read(os.environ)
    directory: Path = values["TASKYARD_HOME"]
    if values["DATABASE_URL"] is None and not (directory / "taskyard.sqlite3").exists():
        raise ConfigurationError(
            f"there is no database in {directory}: "
            "change to the folder of the installation, or set TASKYARD_HOME or DATABASE_URL; "
            "in a Django project of your own, set DJANGO_SETTINGS_MODULE"
        )


@contextmanager
def _database_errors() -> Iterator[None]:
    """Turn errors of the database into ConfigurationError, with one line of text."""
    from django.db import DatabaseError, InterfaceError

    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        _require_database()
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        migrate = "python manage.py migrate" if _is_host_project() else "taskyard migrate"
        hint = f": run `{migrate}`" if _lacks_tables(error) else ""
        raise ConfigurationError(f"the database cannot be used: {first}{hint}") from None


def _lacks_tables(error: Exception) -> bool:
    return getattr(error.__cause__, "sqlstate", "") == "42P01" or "no such table" in str(error)


Command = Callable[[Sequence[str]], int]
COMMANDS: dict[str, Command] = {
    command.__name__.rstrip("_").replace("_", "-"): command
    for command in (
        *(up, web, worker, migrate, createsuperuser, invite, change_password),
        *(backup, restore, export, import_, staff, audit, service_account),
        *(reconcile, rotate_secrets, encryption_key, doctor, settings, manage),
    )
}


def _parser(name: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=f"taskyard {name}", description=OPERATOR[name])


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 2 for wrong usage or an unusable environment."""
    parser = argparse.ArgumentParser(
        prog="taskyard",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"  {name:16} {OPERATOR[name]}" for name in COMMANDS),
    )
    parser.add_argument("command", choices=COMMANDS, metavar="command")
    arguments = list(sys.argv[1:] if argv is None else argv)
    name: str = parser.parse_args(arguments[:1]).command
    try:
        if name in OURS_ALONE and _is_host_project():
            raise ConfigurationError(
                f"`taskyard {name}` is for Taskyard's own project, and DJANGO_SETTINGS_MODULE "
                f"names another: {os.environ['DJANGO_SETTINGS_MODULE']}"
            )
        return COMMANDS[name](arguments[1:])
    except ConfigurationError as error:
        print(f"taskyard: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
