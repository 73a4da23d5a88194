"""The commands that run, check and maintain an installation."""

import os
import socket
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taskyard.server import env, home, logs
from taskyard.server.commands.shared import (
    OUR_SETTINGS,
    database_errors,
    is_host_project,
    new_parser,
    require_database,
)
from taskyard.server.django_setup import load_django
from taskyard.server.env import ConfigurationError

if TYPE_CHECKING:
    import uvicorn

GRACE_SECONDS = 20


def up(arguments: Sequence[str]) -> int:
    """Run database, broker, migrations, web and worker until a signal."""
    new_parser("up").parse_args(arguments)
    _warn_of_foreign_names()
    os.environ["TASKYARD_PROCESS"] = "command"
    from taskyard.server.up import up as run

    return run()


def web(arguments: Sequence[str]) -> int:
    """Run the web alone."""
    parser = new_parser("web")
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
    parser = new_parser("worker")
    parser.add_argument(
        "--check", action="store_true", help="check that the workers here hold their leases"
    )
    if is_host_project() and "--check" not in arguments:
        return manage(["taskyard_worker", *arguments])
    return _check_workers() if parser.parse_args(arguments).check else _exec_worker()


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
    new_parser("doctor").parse_args(arguments)
    require_database()
    load_django()
    from taskyard.server.doctor import run_checks

    return run_checks()


def settings(arguments: Sequence[str]) -> int:
    """Print the table of environment variables."""
    new_parser("settings").parse_args(arguments)
    print(env.markdown())
    return 0


def migrate(arguments: Sequence[str]) -> int:
    """Bring the database to the current version."""
    values = env.read(os.environ)
    home.prepare(values["TASKYARD_HOME"])
    code = manage(["migrate", *arguments])
    from taskyard.core import changes

    with database_errors():
        changes.forget_another_cluster()
    return code


def manage(arguments: Sequence[str]) -> int:
    """Run any command of Django's."""
    load_django()
    from django.core.management import execute_from_command_line

    with nullcontext() if "--traceback" in arguments else database_errors():
        execute_from_command_line(["taskyard manage", *arguments])
    return 0
