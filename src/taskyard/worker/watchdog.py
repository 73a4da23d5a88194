"""The watchdog: a thread of the worker's parent that renews the lease and watches its processes."""

import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

from django.db import DatabaseError, InterfaceError, connections

from taskyard.core import leases, lifecycle
from taskyard.core.conf import conf
from taskyard.core.fair_queue import Accountant
from taskyard.core.models import Task
from taskyard.core.types import LossReason
from taskyard.core.wakeup import has_undelivered, notify
from taskyard.worker import identity, idle_listener, maintenance, process_tree, reaper
from taskyard.worker.purge import Purge
from taskyard.worker.queues import served_queues

# A task that is due becomes ready half of this too late on average.
TICK_SECONDS = 0.2
# A task whose wake-up was lost waits so long at most.
LOOK_SECONDS = 0.5
BEAT_SECONDS = 1.0
# The time to shut down after the drain time is over.
EXIT_SECONDS = 4.0
NOT_CONSUMING_SECONDS = 10.0
logger = logging.getLogger(__name__)


class Watchdog(threading.Thread):
    """Renews the worker's lease, takes tasks from processes that died, and does maintenance.

    No connection to the database is open while the parent forks: a fork waits for the current tick
    and closes the watchdog's connection first.
    """

    def __init__(self, consumer: Any) -> None:
        super().__init__(name="watchdog", daemon=True)
        global current
        current = self
        self._consumer = consumer
        self._pool = consumer.pool
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._database = threading.Lock()
        self._connection: Any = None
        self._killed: dict[int, LossReason] = {}
        self._stalled: dict[int, float] = {}
        self._reaped: set[int] = set()
        self._claimed_for: set[int] = set()
        self._accountant = Accountant()
        self._reaped_at = 0.0
        self._beaten_at = time.monotonic()
        self._checked_at = self._looked_at = 0.0
        self.consumed_at = time.monotonic()
        self.reaches_broker = conf().BROKER_URL is not None
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
        while self._wait_for_tick():
            self._kill_overdue()  # before any query, because such a task may block the database
            self._kill_orphans()
            try:
                with self._database:
                    queues = self._tick()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("database away: %s", error)
                self._drop_connection()
                self._stop_tasks_when_cut_off()
                self.consumed_at = time.monotonic()  # it is unknown whether work waits
                self._stopping.wait(BEAT_SECONDS)
                continue
            identity.process_table().note_answer()
            for queue in queues:
                notify(queue)

    def wake(self) -> None:
        """Look for work now. Another thread calls this."""
        self._woken.set()

    def _wait_for_tick(self) -> bool:
        """Wait for the next tick, or for a wake-up; whether to watch on."""
        if self._woken.wait(TICK_SECONDS):
            self._woken.clear()
            self._looked_at = -LOOK_SECONDS
        return not self._stopping.is_set()

    def stop(self) -> None:
        """Stop watching, and release the tasks that the processes still held."""
        self._stopping.set()
        self.wake()
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
        """Let the processes begin no task; after the drain time kill those that still run one.

        A thread of its own does that, because the watchdog may wait for a database that hangs.
        """
        if not identity.process_table().draining:
            identity.process_table().drain()
            threading.Thread(target=self._end_the_drain, name="drain", daemon=True).start()

    def _end_the_drain(self) -> None:
        time.sleep(conf().DRAIN_SECONDS)
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
        if time.monotonic() - self._checked_at >= BEAT_SECONDS:
            self._checked_at = time.monotonic()
            self._beat()
            self._kill_stopped()
            self._kill_ignoring_cancel()
            queues |= self._rescue_dropped(alive=set(self._processes()))
            self.reaches_broker = idle_listener.end(served_queues())
            maintenance.rescue(identity.worker_id)
            self._exit_if_not_consuming()
            maintenance.settle_shares(identity.worker_id, self._accountant)
        return queues

    def _look_for_work(self) -> None:
        """Let processes poll the queues in which tasks wait, because wake-ups may be lost."""
        if identity.process_table().draining:
            return
        counts = maintenance.ready(served_queues(), up_to=self._pool.limit)
        if counts:
            # The only process may listen for calls. Then nothing else runs in it, so it must poll.
            identity.process_table().note_work()
        for queue, count in counts.items():
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
            # The processes know the worker by this id, so another id needs new processes.
            logger.critical(
                "lease gone: leaving, to be started again", extra={"worker": identity.worker_id}
            )
            os._exit(os.EX_TEMPFAIL)
        identity.presence().renewed(identity.worker_id)

    def _stop_tasks_when_cut_off(self) -> None:
        """Kill the running tasks when the lease is over, because other workers may run them now."""
        if time.monotonic() - self._beaten_at < conf().LEASE_SECONDS:
            return
        self._kill_running()

    def _processes(self) -> list[int]:
        """The processes of the pool; none when Celery has closed the pool at its shutdown."""
        try:
            processes: list[int] = self._pool.info["processes"]
        except AttributeError:
            return []
        return processes

    def _kill_running(self) -> None:
        """Kill the processes that run a task. The fence refuses the writes of all others."""
        for process in self._processes():
            if identity.process_table().read(process):
                self._kill(process, LossReason.LOST)

    def _kill_stopped(self) -> None:
        """Kill a process that has been stopped (SIGSTOP, a debugger) for as long as a lease."""
        now = time.monotonic()
        stalled = {pid for pid in self._processes() if is_stopped(pid)}
        self._stalled = {pid: self._stalled.get(pid, now) for pid in stalled}
        for process, since in self._stalled.items():
            if now - since > conf().LEASE_SECONDS:
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
                # The task was expected to be quick. It runs again, claimed, and may take its time.
                identity.process_table().pause_fast_path()
                self._kill(process, LossReason.UNCHARGED)

    def _kill_ignoring_cancel(self) -> None:
        """Kill the processes whose task has not stopped after the grace of a cancellation."""
        grace = conf().CANCEL_GRACE_SECONDS
        for task in Task.objects.past_cancel_grace(identity.worker_id, grace):
            if self._runs(task):
                self._kill(task.process or 0, LossReason.KILLED)

    def _kill_orphans(self) -> None:
        """Kill the processes that handlers of dead processes started.

        Once a second, because it reads ``/proc``.
        """
        if time.monotonic() - self._reaped_at < BEAT_SECONDS:
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
        # The pool does not list a process yet while it is being forked.
        gone = {p for p in identity.process_table().dead(alive) if not process_tree.is_child(p)}
        for process in gone:
            idle_listener.end(served_queues(), idle_listener.name(identity.worker_id, process))
        self._claimed_for |= {p for p in gone - self._claimed_for if self._claim_for_dead(p)}
        unsettled = gone - self._claimed_for
        dropped = Task.objects.dropped_by(identity.worker_id, alive)
        queues = lifecycle.rescue(dropped, reason_of=self._loss_reason)
        if gone or self._killed:
            # A locked row is rescued later, and its loss reason needs the same entries then.
            unsettled |= {task.process or 0 for task in dropped.only("process")}
        identity.process_table().forget(gone - unsettled)
        self._reaped -= gone - unsettled
        self._claimed_for -= gone - unsettled
        remembered = alive | unsettled
        self._killed = {pid: why for pid, why in self._killed.items() if pid in remembered}
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
        """Why the process of a task is gone.

        Only the running task loses an attempt. The tasks that were claimed together with it run
        again in the same attempt; some may have run already, but their results are not written. A
        task with one attempt loses it in any case, because it must never run twice.
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
        """Exit if Celery no longer consumes, as after some reconnects (celery#8030).

        An idle worker that consumes takes a message as soon as the broker has it.
        """
        undelivered = has_undelivered(served_queues())
        if not undelivered or Task.objects.filter(worker=identity.worker_id).exists():
            self.consumed_at = time.monotonic()
        elif time.monotonic() - self.consumed_at > NOT_CONSUMING_SECONDS:
            logger.critical("Celery has stopped consuming: leaving, to be started again")
            os._exit(os.EX_TEMPFAIL)

    def _before_fork(self) -> None:
        self._database.acquire()
        self._drop_connection()

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()


def is_stopped(process: int) -> bool:
    """Whether a signal or a debugger has stopped a process. Linux only; elsewhere False."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(") ")[2][:1] in "Tt"


current: Watchdog | None = None
