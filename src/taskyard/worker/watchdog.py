"""The watchdog: a thread of the worker's parent that keeps the lease and watches its processes."""

import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections

from taskyard.core import leases, lifecycle
from taskyard.core.models import Task
from taskyard.core.types import LossReason
from taskyard.worker import identity, idle_listener, maintenance, process_tree, reaper
from taskyard.worker.purge import Purge
from taskyard.worker.queues import served_queues
from taskyard.worker.wakeup import has_undelivered, notify

# Half of it is the mean lateness of a wake-up.
TICK_SECONDS = 0.2
# A task that nobody was woken for waits so long at most.
LOOK_SECONDS = 0.5
SWEEP_SECONDS = 1.0
# What is left for the way out after the last process has been killed.
EXIT_SECONDS = 4.0
NOT_CONSUMING_SECONDS = 10.0
logger = logging.getLogger(__name__)


class Watchdog(threading.Thread):
    """Beats the worker's lease, takes tasks from processes that died, and does maintenance.

    No connection to the database is open while the parent forks: a fork waits for the tick that
    is under way and closes the watchdog's connection first.
    """

    def __init__(self, consumer: Any) -> None:
        super().__init__(name="watchdog", daemon=True)
        global current
        current = self
        self._consumer = consumer
        self._pool = consumer.pool
        self._stopping = threading.Event()
        self._database = threading.Lock()
        self._connection: Any = None
        self._killed: dict[int, LossReason] = {}
        self._stalled: dict[int, float] = {}
        self._reaped: set[int] = set()
        self._claimed_for: set[int] = set()
        self._reaped_at = 0.0
        self._beaten_at = time.monotonic()
        self._swept_at = self._looked_at = 0.0
        self.heard_at = time.monotonic()
        self.reaches_broker = True
        identity.process_table().note_answer()
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._database.release,
            after_in_child=self._database.release,
        )

    @property
    def reaches_database(self) -> bool:
        return not identity.process_table().cut_off

    def run(self) -> None:
        try:
            self._watch()
        except BaseException:
            logger.critical("the watchdog failed: leaving, to be started again", exc_info=True)
            os._exit(os.EX_SOFTWARE)

    def _watch(self) -> None:
        self._connection = connections["default"]
        self._connection.inc_thread_sharing()
        Purge(self._connection, self._database, self._stopping).start()
        while not self._stopping.wait(TICK_SECONDS):
            self._kill_overdue()  # before the database is asked: they may be what holds it up
            self._kill_orphans()
            try:
                with self._database:
                    queues = self._tick()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("database away: %s", error)
                self._drop_connection()
                self._stop_tasks_when_cut_off()
                self.heard_at = time.monotonic()  # who cannot look does not know that work waits
                self._stopping.wait(SWEEP_SECONDS)
                continue
            identity.process_table().note_answer()
            for queue in queues:
                notify(queue)

    def stop(self) -> None:
        """Stop watching, and hand back what the processes left."""
        self._stopping.set()
        self.join()
        until = time.monotonic() + EXIT_SECONDS
        dropped = Task.objects.dropped_by(identity.worker_id, ())
        try:
            while True:
                for queue in self._rescue_dropped(alive=set()):
                    notify(queue)
                if not (count := dropped.count()):
                    return
                if time.monotonic() > until:
                    logger.warning("tasks left to the lease", extra={"count": count})
                    return
                time.sleep(TICK_SECONDS)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("nothing handed back: %s", error)

    def drain(self) -> None:
        """Begin nothing more; what still runs after the drain time is handed back.

        That is a thread's own affair: the watchdog may be waiting for a database that hangs.
        """
        if not identity.process_table().draining:
            identity.process_table().drain()
            threading.Thread(target=self._end_the_drain, name="drain", daemon=True).start()

    def _end_the_drain(self) -> None:
        time.sleep(settings.TASKYARD_DRAIN_SECONDS)
        until = time.monotonic() + EXIT_SECONDS
        while time.monotonic() < until:
            for process in self._processes():
                self._kill(process, LossReason.UNCHARGED)
            time.sleep(TICK_SECONDS)
        logger.error("left without a farewell: the lease runs out")
        os._exit(os.EX_OK)

    def _tick(self) -> set[str]:
        queues = maintenance.release_due()
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = time.monotonic()
            self._look_for_work()
        if time.monotonic() - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = time.monotonic()
            self._beat()
            self._kill_stopped()
            self._kill_ignoring_cancel()
            queues |= self._rescue_dropped(alive=set(self._processes()))
            self.reaches_broker = idle_listener.end(served_queues())
            maintenance.sweep(identity.worker_id)
            self._exit_if_not_consuming()
        return queues

    def _look_for_work(self) -> None:
        """Set processes to work that no message has reached, for whatever reason."""
        if identity.process_table().draining:
            return
        found = maintenance.ready(served_queues(), up_to=self._pool.limit)
        if found:
            # What is handed waits behind a process that waits for a call, if it is the only one.
            identity.process_table().note_work()
        for queue, count in found.items():
            self._consumer.hand(queue, count)

    def _beat(self) -> None:
        asked_at = time.monotonic()
        if leases.renew(identity.worker_id):
            self._beaten_at = asked_at
        elif leases.revive(identity.worker_id):
            logger.error(
                "lease ran out: its tasks are stopped", extra={"worker": identity.worker_id}
            )
            self._beaten_at = asked_at
            self._kill_running()
        else:
            # Its id is known to the processes: only new ones may have another.
            logger.critical(
                "lease gone: leaving, to be started again", extra={"worker": identity.worker_id}
            )
            os._exit(os.EX_TEMPFAIL)
        identity.presence().renewed(identity.worker_id)

    def _stop_tasks_when_cut_off(self) -> None:
        """Without its lease the worker has no right to its tasks: others may run them by now."""
        if time.monotonic() - self._beaten_at < settings.TASKYARD_LEASE_SECONDS:
            return
        self._kill_running()

    def _processes(self) -> list[int]:
        """Those of the pool; none are left when Celery, on its way out, has taken it apart."""
        try:
            found: list[int] = self._pool.info["processes"]
        except AttributeError:
            return []
        return found

    def _kill_running(self) -> None:
        """Kill what runs a task; whoever only waits to write an ending is held by the fence."""
        for process in self._processes():
            if identity.process_table().read(process):
                self._kill(process, LossReason.LOST)

    def _kill_stopped(self) -> None:
        """Kill a process that has been stopped (SIGSTOP, a debugger) for as long as a lease."""
        now = time.monotonic()
        stalled = {pid for pid in self._processes() if is_stopped(pid)}
        self._stalled = {pid: self._stalled.get(pid, now) for pid in stalled}
        for process, since in self._stalled.items():
            if now - since > settings.TASKYARD_LEASE_SECONDS:
                self._kill(process, LossReason.LOST)

    def _kill_overdue(self) -> None:
        """Kill the processes whose task ran out of time."""
        for process in self._processes():
            held = identity.process_table().read(process)
            if held is None or not held.overdue or process in self._killed:
                continue
            if held.claimed:
                self._kill(process, LossReason.TIMED_OUT)
            else:
                # What was expected to take no time is begun again, as one that may.
                identity.process_table().pause_fast_path()
                self._kill(process, LossReason.UNCHARGED)

    def _kill_ignoring_cancel(self) -> None:
        """Kill the processes whose task does not stop when asked."""
        grace = settings.TASKYARD_CANCEL_GRACE_SECONDS
        for task in Task.objects.past_cancel_grace(identity.worker_id, grace):
            if self._runs(task):
                self._kill(task.process or 0, LossReason.KILLED)

    def _kill_orphans(self) -> None:
        """End what handlers started whose process is gone; once a second, for it costs a look."""
        if time.monotonic() - self._reaped_at < SWEEP_SECONDS:
            return
        self._reaped_at = time.monotonic()
        reaper.ensure(identity.process_table())
        process_table = identity.process_table()
        for process in process_table.dead(set(self._processes())) - self._reaped:
            if not process_tree.is_child(process):
                self._reaped.add(process)
                process_tree.end_session(process, began=process_table.born(process))
        process_tree.end_orphans(lambda: process_table.dead(set()) | set(self._processes()))

    def _rescue_dropped(self, *, alive: set[int]) -> set[str]:
        # One that is just being forked is not among the pool's yet.
        gone = {p for p in identity.process_table().dead(alive) if not process_tree.is_child(p)}
        for process in gone:
            idle_listener.end(served_queues(), idle_listener.name(identity.worker_id, process))
        self._claimed_for |= {p for p in gone - self._claimed_for if self._claim_for_dead(p)}
        unsettled = gone - self._claimed_for
        dropped = Task.objects.dropped_by(identity.worker_id, alive)
        queues = lifecycle.rescue(dropped, reason_of=self._loss_reason)
        if gone or self._killed:
            # What a lock has kept from being rescued is judged by the same evidence later.
            unsettled |= {task.process or 0 for task in dropped.only("process")}
        identity.process_table().forget(gone - unsettled)
        self._reaped -= gone - unsettled
        self._claimed_for -= gone - unsettled
        kept = alive | unsettled
        self._killed = {pid: why for pid, why in self._killed.items() if pid in kept}
        return queues

    def _claim_for_dead(self, process: int) -> bool:
        held = identity.process_table().read(process)
        if held is None or held.claimed:
            return True
        identity.process_table().pause_fast_path()
        return lifecycle.claim_for_dead_process(
            held.task_id,
            held.fence,
            worker_id=identity.worker_id,
            process=process,
            charged=self._killed.get(process, LossReason.LOST) is LossReason.LOST,
        )

    def _loss_reason(self, task: Task) -> LossReason:
        """What a task whose process died is charged with.

        One that was only claimed along with the running one costs no attempt, unless it may run
        but once: then whether it has begun must not be in doubt.
        """
        if task.max_attempts > 1 and not self._runs(task):
            return LossReason.UNCHARGED
        why = self._killed.get(task.process or 0, LossReason.LOST)
        return LossReason.LOST if why is LossReason.UNCHARGED and task.max_attempts == 1 else why

    def _runs(self, task: Task) -> bool:
        held = identity.process_table().read(task.process or 0)
        return held is not None and (held.task_id, held.fence) == (task.id, task.fence)

    def _kill(self, process: int, why: LossReason) -> None:
        logger.warning("process ended", extra={"child": process, "why": why.value})
        self._killed[process] = why
        process_tree.end_tree(process)

    def _exit_if_not_consuming(self) -> None:
        """Celery has stopped consuming after a reconnect in several versions (celery#8030).

        An idle worker that consumes takes a message as soon as the broker has it.
        """
        unheard = has_undelivered(served_queues())
        if not unheard or Task.objects.filter(worker=identity.worker_id).exists():
            self.heard_at = time.monotonic()
        elif time.monotonic() - self.heard_at > NOT_CONSUMING_SECONDS:
            logger.critical("Celery has stopped consuming: leaving, to be started again")
            os._exit(os.EX_TEMPFAIL)

    def _before_fork(self) -> None:
        self._database.acquire()
        self._drop_connection()

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()


def is_stopped(process: int) -> bool:
    """Whether a process is held by a signal or a debugger; known on Linux only."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(") ")[2][:1] in "Tt"


current: Watchdog | None = None
