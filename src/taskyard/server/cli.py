"""The `taskyard` command: what an operator types."""

import argparse
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskyard.server import env, home, logs
from taskyard.server.django_setup import load_django
from taskyard.server.env import ConfigurationError

if TYPE_CHECKING:
    import uvicorn

GRACE_SECONDS = 20


def up(arguments: Sequence[str]) -> int:
    """database, broker, migrations, web and worker, until Ctrl-C"""
    _options("up", up).parse_args(arguments)
    _warn_of_foreign_names()
    os.environ["TASKYARD_PROCESS"] = "command"
    from taskyard.server.up import up as run

    return run()


def web(arguments: Sequence[str]) -> int:
    """the web alone, on HOST and PORT"""
    options = _options("web", web)
    options.add_argument("--fd", type=int, help="an inherited listening socket instead")
    options.add_argument("--listener", type=Path, help="a Unix socket that gives a port; beside it")
    given = options.parse_args(arguments)
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
        # uvicorn's 5 s are less than proxies keep a connection: they would send into a closed one.
        timeout_keep_alive=values["TASKYARD_KEEP_ALIVE_SECONDS"],
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    server.run(sockets=_sockets(config, fd=given.fd, listener=given.listener))
    return 0 if server.started else 1


def _sockets(
    config: "uvicorn.Config", *, fd: int | None, listener: Path | None
) -> list[socket.socket] | None:
    """The sockets to listen on; None for the web's own HOST and PORT alone."""
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
    """a worker alone, with TASKYARD_CONCURRENCY processes"""
    options = _options("worker", worker)
    options.add_argument("--check", action="store_true", help="say how the one here is, and end")
    return _check_worker() if options.parse_args(arguments).check else _become_a_worker()


def _become_a_worker() -> int:
    _warn_of_foreign_names()
    os.environ["TASKYARD_PROCESS"] = "worker"
    values = _checked()
    from django.conf import settings

    if settings.REDIS_URL is None:
        raise ConfigurationError("no broker: set REDIS_URL, or run `taskyard up` beside it")
    sys.stdout.flush()
    # Only the worker room imports Celery, so this process becomes it.
    os.execv(  # noqa: S606
        sys.executable,
        [
            # Root of a container or of a fresh machine is the operator's choice.
            *(sys.executable, "-W", "ignore:You're running the worker with superuser"),
            *("-m", "celery", "--quiet", "--app", "taskyard.worker", "worker"),
            *("--pool", "prefork", "--concurrency", str(values["TASKYARD_CONCURRENCY"])),
            *("--loglevel", values["TASKYARD_LOG_LEVEL"]),
        ],
    )


def _check_worker() -> int:
    """Whether the workers of this machine, or container, hold their leases: 0, or 1."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "taskyard.server.settings")
    from taskyard.core import presence

    workers = [worker for worker in presence.seen() if worker.alive]
    without = [worker for worker in workers if not worker.holds_a_lease]
    for worker in without:
        why = worker.state or f"last renewed {worker.silent_seconds:.0f} s ago"
        print(f"the worker with process id {worker.pid} has no lease: {why}")
    if not without:
        print(f"{len(workers)} hold their lease" if workers else "no worker runs here")
    return 0 if workers and not without else 1


def _checked() -> dict[str, Any]:
    """The environment, read and found safe, the broker's policy and the pooler's mode included."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "taskyard.server.settings")
    from django.conf import settings

    from taskyard.server import database_checks, valkey

    if settings.REDIS_URL is not None:
        valkey.refuse_unusable(settings.REDIS_URL)
    values = env.read(os.environ)
    for warning in database_checks.warnings():
        logs.warn(warning, form=values["TASKYARD_LOG_FORMAT"])
    return values


def _warn_of_foreign_names() -> None:
    """Say which names are set that other projects read; in the first process of ours alone."""
    values = env.read(os.environ)
    if "TASKYARD_PROCESS" not in os.environ and (warning := env.foreign_names(os.environ)):
        logs.warn(warning, form=values["TASKYARD_LOG_FORMAT"])


def doctor(arguments: Sequence[str]) -> int:
    """check this installation"""
    _options("doctor", doctor).parse_args(arguments)
    _refuse_elsewhere()
    load_django()
    from taskyard.server.doctor import examine

    return examine()


def settings(arguments: Sequence[str]) -> int:
    """print the table of environment variables"""
    _options("settings", settings).parse_args(arguments)
    print(env.markdown())
    return 0


def migrate(arguments: Sequence[str]) -> int:
    """bring the database to the current version"""
    values = env.read(os.environ)
    home.prepare(values["TASKYARD_HOME"])
    code = manage(["migrate", *arguments])
    from taskyard.core import changes

    with _database_errors():
        changes.forget_another_cluster()
    return code


def createsuperuser(arguments: Sequence[str]) -> int:
    """make an administrator"""
    _refuse_elsewhere()
    return manage(["createsuperuser", *arguments])


def backup(arguments: Sequence[str]) -> int:
    """write the database to a file, while it is in use"""
    options = _options("backup", backup)
    options.add_argument("file", type=Path, help="is replaced when the backup is whole")
    file: Path = options.parse_args(arguments).file
    _refuse_elsewhere()
    load_django()
    from taskyard.server import backup as backups

    with _database_errors():
        backups.backup(file)
    print(f"{file}: {file.stat().st_size:,} bytes")
    return 0


def restore(arguments: Sequence[str]) -> int:
    """replace the database by that of a backup; taskyard must be stopped"""
    options = _options("restore", restore)
    options.add_argument("file", type=Path)
    options.add_argument(
        "--as-copy", action="store_true", help="for use beside the original, with an id of its own"
    )
    given = options.parse_args(arguments)
    load_django()
    from taskyard.server import backup as backups

    with _database_errors():
        backups.restore(given.file, as_copy=given.as_copy)
    print(f"{given.file} is restored")
    return 0


def manage(arguments: Sequence[str]) -> int:
    """any command of Django's"""
    load_django()
    from django.core.management import execute_from_command_line

    with nullcontext() if "--traceback" in arguments else _database_errors():
        execute_from_command_line(["taskyard manage", *arguments])
    return 0


def _refuse_elsewhere() -> None:
    """Raise ConfigurationError where there is no installation, before anything is made there."""
    values = env.read(os.environ)
    directory: Path = values["TASKYARD_HOME"]
    if values["DATABASE_URL"] is None and not (directory / "taskyard.sqlite3").exists():
        raise ConfigurationError(
            f"there is no database in {directory}: "
            "change to the folder of the installation, or set TASKYARD_HOME or DATABASE_URL"
        )


@contextmanager
def _database_errors() -> Iterator[None]:
    """Errors of the database as one line. Raises ConfigurationError."""
    from django.db import DatabaseError, InterfaceError

    try:
        yield
    except (DatabaseError, InterfaceError) as error:
        _refuse_elsewhere()
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        hint = ": run `taskyard migrate`" if _lacks_tables(error) else ""
        raise ConfigurationError(f"the database cannot be used: {first}{hint}") from None


def _lacks_tables(error: Exception) -> bool:
    return getattr(error.__cause__, "sqlstate", "") == "42P01" or "no such table" in str(error)


Command = Callable[[Sequence[str]], int]
COMMANDS: dict[str, Command] = {
    command.__name__: command
    for command in (
        *(up, web, worker, migrate, createsuperuser, backup, restore, doctor, settings, manage),
    )
}


def _options(name: str, command: Command) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=f"taskyard {name}", description=command.__doc__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 2 for wrong usage or an unusable environment."""
    parser = argparse.ArgumentParser(
        prog="taskyard",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"  {name:16} {command.__doc__}" for name, command in COMMANDS.items()),
    )
    parser.add_argument("command", choices=COMMANDS, metavar="command")
    given = list(sys.argv[1:] if argv is None else argv)
    chosen: str = parser.parse_args(given[:1]).command
    try:
        return COMMANDS[chosen](given[1:])
    except ConfigurationError as error:
        print(f"taskyard: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
