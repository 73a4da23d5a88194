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
OUR_SETTINGS = "taskyard.server.settings"
# These commands read the environment of our own project.
OURS_ALONE = ("up", "web", "migrate", "createsuperuser", "backup", "restore", "doctor")


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


def backup(arguments: Sequence[str]) -> int:
    """Write the database to a file, while it is in use."""
    parser = _parser("backup")
    parser.add_argument("file", type=Path, help="is replaced when the backup is whole")
    file: Path = parser.parse_args(arguments).file
    _require_database()
    load_django()
    from taskyard.server import backup as backups

    with _database_errors():
        backups.backup(file)
    print(f"{file}: {file.stat().st_size:,} bytes")
    return 0


def restore(arguments: Sequence[str]) -> int:
    """Replace the database by that of a backup."""
    parser = _parser("restore")
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--as-copy", action="store_true", help="for use beside the original, with an id of its own"
    )
    options = parser.parse_args(arguments)
    load_django()
    from taskyard.server import backup as backups

    with _database_errors():
        backups.restore(options.file, as_copy=options.as_copy)
    print(f"{options.file} is restored")
    return 0


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
            export_file.resume(options.file)
            if options.resume
            else export_file.export(options.file, after=after, secrets=options.secrets)
        )
    print(f"exported: {_counted(written)}", file=sys.stderr)
    return 0


def import_(arguments: Sequence[str]) -> int:
    """Add what is in the file of an export to the database; change nothing that is there."""
    parser = _parser("import")
    parser.add_argument("file", help="the file of an export; - is standard input")
    parser.add_argument(
        "--new-ids", action="store_true", help="give each task a new id, if the old ones are taken"
    )
    options = parser.parse_args(arguments)
    _require_database()
    load_django()
    from taskyard.server import export_file

    with _database_errors():
        counts = export_file.read(options.file, new_ids=options.new_ids)
    print(f"imported: {_counted(counts.new)}; there already: {_counted(counts.there)}")
    if counts.lost:
        print(f"{counts.lost:,} tasks that ran had no attempt left and ended in error")
    return 0


def _counted(counts: Mapping[str, int]) -> str:
    """The numbers of lines: `2 user, 17 task`."""
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items()) or "nothing"


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
            "change to the folder of the installation, or set TASKYARD_HOME or DATABASE_URL"
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
        hint = ": run `taskyard migrate`" if _lacks_tables(error) else ""
        raise ConfigurationError(f"the database cannot be used: {first}{hint}") from None


def _lacks_tables(error: Exception) -> bool:
    return getattr(error.__cause__, "sqlstate", "") == "42P01" or "no such table" in str(error)


Command = Callable[[Sequence[str]], int]
COMMANDS: dict[str, Command] = {
    command.__name__.rstrip("_"): command
    for command in (
        *(up, web, worker, migrate, createsuperuser, backup, restore, export, import_, doctor),
        *(settings, manage),
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
