"""Let the workers of a project's own Celery app start and stop a worker of Taskyard beside them.

The two share a command, a life and a machine, but no process, no queue and no connection. In one
pool a long task of ours would hold a process that the project's tasks wait for, and the end of a
process, as after a cancellation, could take a message of theirs. So Taskyard's worker has processes
of its own, at a low priority: the system prefers the project's.
"""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from celery import Celery, bootsteps
from celery.concurrency import prefork

from taskyard.catalog.task_type import NAME
from taskyard.contrib.celery import wake_ups

RESTART_SECONDS = 2.0
# The exit code of a worker that cannot run in this way, and has said why in one line.
REFUSES = 2
logger = logging.getLogger(__name__)


class JoinedWorker(bootsteps.StartStopStep):
    """A step of the project's worker: keeps a worker of Taskyard alive while that worker runs."""

    requires = ("celery.worker.components:Pool",)  # it forks before this step starts a thread
    queues: Sequence[str] | None = None
    concurrency: int | None = None

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        worker.taskyard = self  # so that WakeUpReceiver finds it

    def start(self, worker: Any) -> None:
        self._wake_ups, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._command = [
            # The project's worker has warned already.
            *(sys.executable, "-W", "ignore:You're running the worker with superuser"),
            *("-m", "taskyard.contrib.celery.joined_worker"),
            *(str(os.getpid()), str(self._wake_ups)),
            *(str(self.concurrency or _processes_of(worker)), str(worker.loglevel)),
            *(self.queues or ()),
        ]
        self._process = self._started()
        threading.Thread(target=self._keep_alive, name="taskyard", daemon=True).start()

    def wake(self) -> None:
        """Let Taskyard's worker look for work."""
        with suppress(OSError):  # the pipe is full, so it will look anyway
            os.write(self._waker, b"\n")

    def close(self, worker: Any) -> None:
        """Begin the drain at once, while the project's own tasks end."""
        self._stopping.set()
        if self._process is not None:
            self._process.terminate()

    def stop(self, worker: Any) -> None:
        """Wait for the end of the drain, which Taskyard's worker bounds (``DRAIN_SECONDS``)."""
        if self._process is not None:
            self._process.wait()

    def terminate(self, worker: Any) -> None:
        """A cold shutdown: another worker runs the tasks again."""
        if self._process is not None:
            self._process.kill()

    def _started(self) -> subprocess.Popen[bytes]:
        # A session of its own, so that Ctrl-C at a terminal does not reach it before ``close``.
        return subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            pass_fds=(self._wake_ups,),
            start_new_session=True,
        )

    def _keep_alive(self) -> None:
        while (process := self._process) is not None:
            code = process.wait()
            if self._stopping.is_set():
                return
            if code == REFUSES:
                logger.critical("Taskyard's worker refuses to run; the project's goes on")
                return
            logger.warning("Taskyard's worker has ended with %s, and is started again", code)
            if self._stopping.wait(RESTART_SECONDS):
                return
            self._process = self._started()
            if self._stopping.is_set():
                self._process.terminate()


def _processes_of(worker: Any) -> int:
    """The processes of the pool; a pool of threads or of greenlets may have many more of those."""
    is_prefork = issubclass(worker.pool_cls, prefork.TaskPool)
    return int(worker.concurrency) if is_prefork else os.cpu_count() or 1


def join(
    app: Celery, queues: Sequence[str] | None = None, *, concurrency: int | None = None
) -> None:
    """Let each worker of ``app`` run a worker of Taskyard beside its pool.

    It serves ``queues``, or else those of the settings, in ``concurrency`` processes, or else as
    many as the pool has; beside another pool than prefork, as many as the machine has cores.
    Raises ValueError for a wrong name of a queue, and for a second call.
    """
    for queue in queues or ():
        if not NAME.fullmatch(queue):
            raise ValueError(f"join: {queue!r} is no name of a queue of Taskyard")
    if any(issubclass(step, JoinedWorker) for step in app.steps["worker"]):
        raise ValueError("join: the workers of this app have joined already")
    options = {"queues": queues, "concurrency": concurrency}
    app.steps["worker"].add(type("JoinedWorker", (JoinedWorker,), options))
    app.steps["consumer"].add(wake_ups.WakeUpReceiver)
    wake_ups.send_through(app)
