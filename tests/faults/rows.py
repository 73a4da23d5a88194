"""The table of faults: each row injects one kind, measures, and asserts what is promised.

A row returns its figure. `make faults` runs its long form; the suite runs a short one of the same
steps.
"""

import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import redis

from taskyard.server import child_process
from tests import servers
from tests.faults.blast_radius import one_in_trouble
from tests.faults.cut_off import cut_off
from tests.faults.ledger import Job, mixed, sums
from tests.faults.proxy import Mode, Proxy
from tests.faults.stage import Stage, Trial, children, is_root, lives
from tests.faults.switchover import a_switchover
from tests.faults.transition_log import Truth, wait_for
from tests.live_system import Live, clean_environment

# A stall check, a lease and a rescue later at the latest.
RESCUE_SECONDS = 35.0
MOVING_SECONDS = 20.0
# No limit is promised: every process finds its dead connections one by one.
FORGOTTEN_SECONDS = 40.0
SERVING_SECONDS = 10.0
OUTAGE_ANSWER_SECONDS = 5.0
SUBMIT_SECONDS = 1.5

Playing = Callable[[Stage, bool], str]


@dataclass(frozen=True)
class Row:
    name: str
    wanted: str
    play: Playing
    databases: tuple[str, ...] = ("sqlite", "postgresql")


def killed_at_random(stage: Stage, long: bool) -> str:
    """SIGKILL of the worker's parent, a child, or the web, over and over."""
    jobs, a_second, pauses = (10_000, 30.0, (1.0, 5.0)) if long else (300, 40.0, (0.6, 1.4))
    lease = 10 if long else 3
    with stage.trial(owners=10, limit=100, threads=16, TASKYARD_LEASE_SECONDS=str(lease)) as trial:
        trial.live.start_worker()
        kills: dict[int, float] = {}
        times: Counter[str] = Counter()
        wait_for("both are ready", lambda: _all_ready(trial), seconds=60)
        begun = trial.ledger.load(jobs, mixed, pool=trial.pool, a_second=a_second)
        while not begun.done():
            time.sleep(random.uniform(*pauses))
            times[_kill_something(trial, kills)] += 1
        begun.result()
        trial.ends_well()
        delays = [
            move.at - kills[move.old_process]
            for move in trial.truth.moves()
            if move.is_rescue
            and move.old_process in kills
            # A task that ended normally before the kill was not rescued.
            and move.status == "pending"
            and move.at >= kills[move.old_process]
        ]
        slowest = max(delays, default=0.0)
        assert slowest < lease + 5, f"rescued {slowest:.1f} s after the kill"
        tries = sum(entry.tries > 1 for entry in trial.ledger.entries)
        replayed = sum(entry.replayed for entry in trial.ledger.entries)
        assert len(trial.ledger.entries) == jobs
        what = ", ".join(f"{count} {name}" for name, count in sorted(times.items()))
        return (
            f"{jobs} tasks, killed {what}: 0 lost, 0 double terminals; {len(delays)} rescued, "
            f"{slowest:.1f} s after the kill at most (lease {lease} s); "
            f"{tries} submits asked again, {replayed} of them had been accepted"
        )


def _kill_something(trial: Trial, kills: dict[int, float]) -> str:
    live = trial.live
    what = random.choice(("parent", "child", "web"))
    if what == "web":
        with trial.ledger.outage():
            live.kill_web()
            live.start_web()
            live.wait_until_ready()  # a slow machine would kill it before its first response
        return what
    ready = [worker for worker in live.workers if is_ready(live, worker.pid)]
    if not ready:
        return "nobody"
    worker = random.choice(ready)
    victims = children(worker.pid)
    # The time until a dead worker's tasks run again needs a worker that is alive.
    if victims and (what == "child" or len(ready) == 1):
        victims = [random.choice(victims)]
        kills[victims[0]] = time.time()
        trial.lost.add(victims[0])
        os.kill(victims[0], signal.SIGKILL)
        return "child"
    kills.update(dict.fromkeys(victims, time.time()))
    trial.lost.update(victims)
    # Only the parent; its children end with it.
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    live.workers.remove(worker)
    live.start_worker()
    return "parent"


def is_ready(live: Live, pid: int) -> bool:
    """Whether a worker has logged that it is ready; its watchdog runs then too."""
    said = re.compile(rf'ready\."[^\n]*"pid": ?{pid}\b')
    return said.search(live.log.read_text()) is not None


def _all_ready(trial: Trial) -> bool:
    return all(is_ready(trial.live, worker.pid) for worker in trial.live.workers)


def a_child_stopped(stage: Stage, long: bool) -> str:
    """SIGSTOP of one child; SIGCONT after a minute if the child still exists."""
    seconds = 60.0 if long else 8.0
    environment = {} if long else {"TASKYARD_LEASE_SECONDS": "3"}
    with stage.trial(**environment) as trial:
        asked = {"number": 1, "first": 2.0, "then": 0.0}
        entry = trial.ledger.submit(Job("signs", asked, {"number": 1}, signed=True))
        assert entry
        wait_for("it runs", lambda: entry.id in trial.truth.held(), seconds=10)
        process = trial.truth.held()[entry.id]
        trial.lost.add(process)
        os.kill(process, signal.SIGSTOP)
        try:
            others = [trial.ledger.submit(sums(number)) for number in range(5)]
            taken = wait_for(
                "the stopped child's task is taken from it",
                lambda: trial.truth.held().get(entry.id) != process,
                seconds=RESCUE_SECONDS,
            )
            time.sleep(max(0.0, seconds - taken))
        finally:
            if lives(process):
                os.kill(process, signal.SIGCONT)
        time.sleep(1)
        trial.ends_well()
        assert all(others)
        return f"rescued after {taken:.1f} s, 5 others unaffected, 0 double terminals"


def workers_stopped(stage: Stage, long: bool) -> str:
    """SIGSTOP whole workers beyond their lease; then their processes finish tasks they have lost.

    The children continue first, because a parent that checks its lease first would kill them.
    """
    rounds, width, first, seconds = (2, 50, 25.0, 60.0) if long else (1, 4, 4.0, 5.0)
    lease = {} if long else {"TASKYARD_LEASE_SECONDS": "2"}
    refused, slowest = 0, 0.0
    with stage.trial(TASKYARD_CONCURRENCY=str(width), **lease) as trial:
        for _ in range(rounds):
            worker = trial.live.workers[0]
            asked = {"number": 7, "first": first, "then": 0.0}
            job = Job("signs", asked, {"number": 7}, signed=True)
            for _ in range(width):
                assert trial.ledger.submit(job)
            wait_for("all run", lambda: len(trial.truth.held()) == width, seconds=20, pause=0.02)
            family = children(worker.pid)
            trial.lost.update(family)
            stopped_at = time.time()
            for pid in (worker.pid, *family):
                os.kill(pid, signal.SIGSTOP)
            trial.live.start_worker()
            wait_for("all are done elsewhere", lambda: not trial.truth.active(), seconds=60)
            rescues = [m.at for m in trial.truth.moves() if m.is_rescue and m.at > stopped_at]
            slowest = max(slowest, *(at - stopped_at for at in rescues))
            time.sleep(max(0.0, seconds - (time.time() - stopped_at)))
            before = trial.count_in_the_log("late write refused")
            for pid in family:
                os.kill(pid, signal.SIGCONT)
            late = wait_for_count(trial, "late write refused", before + width, seconds=20) - before
            refused += late
            trial.live.kill_worker(worker)
        trial.ends_well()
    assert slowest < RESCUE_SECONDS
    assert refused == rounds * width, f"{refused} of {rounds * width} late writes refused"
    return (
        f"rescued after {slowest:.1f} s at most, "
        f"{refused} of {rounds * width} late writes refused, 0 double terminals"
    )


def wait_for_count(trial: Trial, event: str, count: int, *, seconds: float) -> int:
    """Wait until an event is in the log often enough, or a timeout; return the count."""
    until = time.monotonic() + seconds
    while (found := trial.count_in_the_log(event)) < count and time.monotonic() < until:
        time.sleep(0.05)
    return found


POISONS: tuple[tuple[str, dict[str, Any], dict[str, Any], str], ...] = (
    ("spins", {"seconds": 1e6}, {"timeout": 1}, "timeout"),
    ("holds-the-gil", {}, {"timeout": 1}, "timeout"),
    ("runs-out-of-memory", {}, {}, "exception"),
    ("segfaults", {}, {}, "worker_lost"),
    ("exits", {}, {}, "exception"),
    ("fills-the-memory", {}, {}, "exception"),
    # The kernel does the same when the machine has no memory left.
    ("dies", {}, {"max_attempts": 1}, "worker_lost"),
)
ADDRESS_SPACE = 2**31


def poisons(stage: Stage, long: bool) -> str:
    """Tasks that kill their process, or never end, beside other tasks."""
    rounds = 10 if long else 1
    slowest = 0.0
    with stage.trial(owners=2) as trial:
        worker = trial.live.workers[0]
        # A real limit of memory; children inherit it.
        for pid in (worker.pid, *children(worker.pid)):
            resource.prlimit(pid, resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        for _ in range(rounds):
            began = time.monotonic()
            for task_type, given, options, code in POISONS:
                job = Job(task_type, given, None, "error", (code,), options=options)
                assert trial.ledger.submit(job)
                for number in range(5):
                    assert trial.ledger.submit(sums(number), owner=1)
            wait_for("they have ended", lambda: not trial.truth.active(), seconds=60)
            slowest = max(slowest, time.monotonic() - began)
        assert lives(worker.pid)
        wait_for("two processes", lambda: len(children(worker.pid)) == 2, seconds=10)
        began = time.monotonic()
        assert trial.ledger.submit(sums(0), owner=1)
        trial.ends_well()
        after = time.monotonic() - began
        bad = rounds * len(POISONS)
        others = len(trial.ledger.entries) - bad
        return (
            f"{bad} ended with their reason, {len(POISONS)} at once on two processes in "
            f"{slowest:.1f} s at most; {others} others completed; the next sum took {after:.1f} s"
        )


def redis_faults(stage: Stage, long: bool) -> str:
    """Redis stopped, restarted, emptied, hung, resetting, late, and forgetful of connections."""
    seconds, a_second = (60.0, 20.0) if long else (2.0, 20.0)
    figures = []
    with stage.trial(owners=4) as trial:
        live, proxy = trial.live, trial.redis
        faults = ["down", "restarted", "FLUSHALL", "hung"]
        for name in [*faults, "half-open"] if long else faults:
            accepted = len(trial.ledger.entries)
            lasting = seconds if name in ("down", "hung") else 1.0
            jobs = int((lasting + 1) * a_second)
            since = time.time()
            load = trial.ledger.load(jobs, sums, pool=trial.pool, a_second=a_second)
            time.sleep(0.5)
            if name == "down":
                live.stop_broker()
                time.sleep(lasting)
                live.start_broker()
            elif name == "restarted":
                live.stop_broker()
                live.start_broker()
            elif name == "FLUSHALL":
                with redis.Redis.from_url(live.redis_url) as client:
                    client.flushall()
            elif name == "hung":
                proxy.become(Mode.BLACK_HOLE)
                time.sleep(lasting)
                proxy.become(Mode.PASS)
            else:
                proxy.become(Mode.HALF_OPEN)
                proxy.become(Mode.PASS)
            back = time.time()
            load.result()
            entries = trial.ledger.entries[accepted:]
            assert len(entries) == jobs
            others = [a for a in trial.ledger.answers if a.at >= since and a.status != 201]
            assert not others, f"{name}: not accepted at once: {others[:3]}"
            moving = _moving_after(trial, back, [e.id for e in entries])
            p99 = trial.ledger.slowest(0.99, since=since)
            assert p99 < SUBMIT_SECONDS, f"{name}: p99 of submits {p99:.2f} s"
            bound = FORGOTTEN_SECONDS if name == "half-open" else MOVING_SECONDS
            assert moving < bound, f"{name}: moving after {moving:.1f} s"
            figures.append(f"{name}: p99 {p99 * 1000:.0f} ms, moving after {moving:.1f} s")
        trial.ends_well()
        return f"{'; '.join(figures)}; 0 lost"


def _moving_after(trial: Trial, back: float, task_ids: list[int]) -> float:
    """Seconds until one of these tasks began, if one still waited when Redis was back."""

    def gone() -> bool:
        trial.live.replace_those_that_left()
        return not trial.truth.active()

    wait_for("the backlog has gone", gone, seconds=90, pause=0.2)
    begun = [m.at for m in trial.truth.moves(task_ids) if m.begins]
    later = [at - back for at in begun if at > back]
    return min(later, default=0.0)


def postgresql_faults(stage: Stage, long: bool) -> str:
    """PostgreSQL stopped, crashed and restarted, and out of connections."""
    seconds = 60.0 if long else 4.0
    figures = []
    with (
        servers.own_postgresql(max_connections=40) as server,
        Proxy(server.url) as link,
        stage.trial(owners=4, threads=8, database_url=server.url, seen_as=link.url) as trial,
    ):
        for name in ("down", "restarted", "connections exhausted", "hung"):
            accepted = len(trial.ledger.entries)
            jobs = int((seconds + 2) * 10)
            load = trial.ledger.load(jobs, sums, pool=trial.pool, a_second=10)
            time.sleep(0.5)
            since = time.time()
            with trial.ledger.outage():
                if name == "down":
                    server.stop()
                    time.sleep(seconds)
                    server.start()
                elif name == "restarted":
                    server.stop(signal.SIGQUIT)
                    server.start()
                elif name == "hung":
                    link.become(Mode.BLACK_HOLE)
                    time.sleep(max(seconds, 6.0))
                    link.become(Mode.PASS)
                else:
                    with _all_connections(server.url):
                        time.sleep(seconds)
                back = time.time()
                serving = _serving_after(trial, back)
            load.result()
            answers = [a for a in trial.ledger.answers if since <= a.at <= back]
            refused = [a for a in answers if a.status == 503]
            slowest = max((a.seconds for a in answers), default=0.0)
            assert len(trial.ledger.entries) == accepted + jobs + 1
            assert slowest < OUTAGE_ANSWER_SECONDS, f"{name}: an answer took {slowest:.1f} s"
            assert serving < SERVING_SECONDS, f"{name}: serving after {serving:.1f} s"
            assert refused or name == "restarted", f"{name}: nothing was refused"
            figures.append(
                f"{name}: {len(refused)} × 503, the slowest answer {slowest:.1f} s, "
                f"serving after {serving:.1f} s"
            )
        trial.ends_well()
        return f"{'; '.join(figures)}; every 201 is there"


@contextmanager
def _all_connections(url: str) -> Iterator[None]:
    """Take every free connection, and those that Taskyard had."""
    with ExitStack() as stack, psycopg.connect(url, autocommit=True) as first:
        mine: list[psycopg.Connection[Any]] = [first]
        until = time.monotonic() + 2
        while time.monotonic() < until:
            pids = [each.info.backend_pid for each in mine]
            try:
                while True:
                    mine.append(stack.enter_context(psycopg.connect(url, autocommit=True)))
            except psycopg.OperationalError:
                first.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE backend_type = 'client backend' AND NOT pid = ANY(%s)",
                    [[*pids, *(each.info.backend_pid for each in mine)]],
                )
            time.sleep(0.1)
        yield


def _serving_after(trial: Trial, back: float) -> float:
    """Seconds until a new submit was accepted and completed."""
    assert trial.ledger.submit(sums(1))
    serving = time.time() - back
    url = f"{trial.live.url}/readyz"
    wait_for("ready", lambda: httpx.get(url, timeout=5).status_code == 200, seconds=20)
    return serving


def a_dead_link(stage: Stage, long: bool) -> str:
    """The link between one worker and PostgreSQL is a black hole for longer than the lease."""
    lease = 10 if long else 3
    seconds = 60.0 if long else lease + 5.0
    with stage.trial(TASKYARD_LEASE_SECONDS=str(lease)) as trial:
        live = trial.live
        with Proxy(live.env["DATABASE_URL"]) as link:
            live.stop_worker()
            far = live.start_worker(DATABASE_URL=link.url)
            asked = {"number": 3, "first": 90.0, "then": 0.0}
            for _ in range(2):
                job = Job("signs", asked, {"number": 3}, signed=True)
                assert trial.ledger.submit(job)
            wait_for("both run", lambda: len(trial.truth.held()) == 2, seconds=30)
            busy = set(trial.truth.held().values())
            trial.lost.update(busy)
            live.start_worker()
            wait_for("the other worker is there", lambda: _workers(trial.truth) == 2, seconds=30)
            link.become(Mode.BLACK_HOLE)
            began = time.monotonic()
            stopped = wait_for(
                "the worker has stopped its tasks",
                lambda: not any(lives(pid) for pid in busy),
                seconds=lease + 5,
            )
            done = wait_for("all done elsewhere", lambda: not trial.truth.active(), seconds=60)
            time.sleep(max(0.0, seconds - (time.monotonic() - began)))
            link.become(Mode.PASS)
            back = time.monotonic()
            live.stop_worker(live.workers[1])
            assert trial.ledger.submit(sums(5))
            wait_for("the worker serves again", lambda: not trial.truth.active(), seconds=30)
            serving = time.monotonic() - back
            assert lives(far.pid)
            trial.ends_well()
    return (
        f"its tasks stopped after {stopped:.1f} s (lease {lease} s), done elsewhere after "
        f"{stopped + done:.1f} s, it serves again {serving:.1f} s after; 0 double terminals"
    )


def _workers(truth: Truth) -> int:
    return int(truth.rows("SELECT count(*) FROM taskyard_worker")[0][0])


def strange_messages(stage: Stage, long: bool) -> str:
    """Wake-up messages that are doubled, out of order, stale, without a queue, or missing."""
    jobs = 500 if long else 60
    with stage.trial(limit=5000) as trial:
        celery = trial.live.celery()
        load = trial.ledger.load(jobs, sums, pool=trial.pool)
        sent = 0
        with celery.connection_for_write() as connection:

            def send(*args: Any, to: str = "default", name: str = "taskyard.wake_up") -> None:
                celery.send_task(name, args=args, queue=to, connection=connection)

            while not load.done() or sent < 10 * jobs:
                for _ in range(10):
                    send("default")
                    send(random.choice(("default", "no-such-queue", "", "x" * 300, "\ud83d\udd14")))
                send("default", to="no-such-queue")
                send()  # names no queue
                send(["default"], {"queue": 7})
                send(None)
                send("default", name="taskyard.no-such-task")
                sent += 25
        load.result()
        trial.ends_well()
        worker = trial.live.workers[0]
        wait_for("every message is taken", lambda: _waiting(trial) == 0, seconds=300)
        for number in range(20):
            assert trial.ledger.submit(sums(number))
        trial.ends_well()
        begun = Counter(m.task_id for m in trial.truth.moves() if m.begins)
        assert set(begun.values()) == {1}, "a message made a task run twice"
        assert lives(worker.pid)
        return f"{sent} messages for {jobs} tasks: 0 effects, each task ran once"


def _waiting(trial: Trial) -> int:
    return trial.live.messages()


def a_full_disk(stage: Stage, long: bool) -> str:
    """Fill the disk of the database: a small file system if this user may mount one, or a limit."""
    seconds = 20.0 if long else 3.0
    home = stage.directory / "small-disk"
    home.mkdir()
    with ExitStack() as stack:
        mounted = stack.enter_context(_small_file_system(home))
        with stage.trial(owners=2, TASKYARD_HOME=str(home)) as trial:
            load = trial.ledger.load(int((seconds + 3) * 10), sums, pool=trial.pool, a_second=10)
            time.sleep(1)
            since = time.time()
            with trial.ledger.outage(), _no_room(trial, home, mounted=mounted):
                time.sleep(seconds)
            back = time.time()
            assert trial.ledger.submit(sums(1))
            serving = time.time() - back
            load.result()
            answers = [a for a in trial.ledger.answers if since <= a.at <= back]
            refused = Counter(a.status for a in answers if a.status != 201)
            assert refused, "the disk was never full"
            assert set(refused) <= {503, 507}, refused
            assert trial.truth.integrity() == "ok"
            assert serving < SERVING_SECONDS
            trial.ends_well()
        how = "a mounted tmpfs, full" if mounted else "RLIMIT_FSIZE of web and worker"
        shown = ", ".join(f"{count} × {status}" for status, count in refused.items())
        return f"{how}: {shown}; integrity ok; accepting again {serving:.1f} s after; 0 lost"


@contextmanager
def _small_file_system(where: Path) -> Iterator[bool]:
    """Mount a file system of a few megabytes if this user may; return whether it worked."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(where)]
    if not is_root() or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


@contextmanager
def _no_room(trial: Trial, home: Path, *, mounted: bool) -> Iterator[None]:
    if mounted:
        ballast = home / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        yield
        ballast.unlink()
        return
    worker = trial.live.workers[0].pid
    pids = [trial.live.web_pid, worker, *children(worker)]
    before = resource.prlimit(pids[0], resource.RLIMIT_FSIZE)
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def rolling_restart(stage: Stage, long: bool) -> str:
    """A full queue, and every worker replaced in turn, as a deploy does it."""
    jobs = 10_000 if long else 500

    def work(number: int) -> Job:
        if number % 50 == 0:
            asked = {"number": number, "first": 0.5, "then": 0.5}
            return Job("signs", asked, {"number": number}, signed=True)
        if number % 50 == 1:
            return Job("countdown", {"seconds": 3}, mixed(0).result)
        return sums(number)

    with stage.trial(owners=4, limit=20_000, threads=4) as trial:
        live = trial.live
        live.stop_worker()
        trial.ledger.load(jobs, work, pool=trial.pool).result()
        assert trial.truth.active() == jobs
        live.start_worker()
        began = time.monotonic()
        restarts = 0
        while trial.truth.active() or restarts < 3:
            newest = live.start_worker()
            wait_for("the new one is ready", partial(is_ready, live, newest.pid), seconds=60)
            time.sleep(0.5)
            live.stop_worker()
            restarts += 1
        taken = time.monotonic() - began
        trial.ends_well()
        charged = trial.truth.rows("SELECT count(*) FROM taskyard_task WHERE attempt <> 1")[0][0]
        assert charged == 0, f"{charged} tasks were charged an attempt"
        return (
            f"{jobs} queued, {restarts} workers replaced in {taken:.0f} s: "
            "0 lost, 0 failed, 0 attempts charged"
        )


def started_in_any_order(stage: Stage, long: bool) -> str:
    """Kill everything, as if the machine lost power; its parts restart in a random order.

    By the marks of the handlers, each task that is submitted meanwhile must begin exactly once.
    """
    times, tasks, seconds = (20, 60, 2.0) if long else (1, 12, 1.0)
    orders = []
    with (
        servers.own_postgresql() as server,
        stage.trial(database_url=server.url, limit=5000) as trial,
    ):
        live = trial.live
        for _ in range(2):
            live.start_worker()
        parts: dict[str, Callable[[], Any]] = {
            "database": server.start,
            "broker": live.start_broker,
            "web": live.start_web,
            **{f"worker {number}": live.start_worker for number in range(3)},
        }
        for _ in range(times):
            with trial.ledger.outage():
                live.kill_web()
                while live.workers:
                    live.kill_worker()
                server.stop(signal.SIGQUIT)
                live.kill_broker()
                load = trial.ledger.load(tasks, _lasts(seconds), pool=trial.pool)
                order = sorted(parts, key=lambda part: (part == "database", random.random()))
                # The workers always start before the database; the rest in a random order.
                late = random.sample(["broker", "web"], random.randint(0, 2))
                order = [part for part in order if part not in late] + late
                for part in order:
                    parts[part]()
                    time.sleep(random.uniform(0.0, 1.5))
                load.result()
            wait_for("all have ended", lambda: not trial.truth.active(), seconds=180, pause=0.2)
            orders.append(order)
            begun = trial.marks
            wrong = {e.id: begun[e.id] for e in trial.ledger.entries if begun[e.id] != 1}
            assert not wrong, f"after {order} these were not begun once: {wrong}"
        trial.ends_well()
        count = len(trial.ledger.entries)
        return f"{len(orders)} random orders, {count} tasks: {sum(trial.marks.values())} begun"


def _lasts(seconds: float) -> Callable[[int], Job]:
    def make(number: int) -> Job:
        asked = {"number": number, "first": seconds, "then": seconds}
        options = {"max_attempts": 1} if number % 2 else {}
        return Job("signs", asked, {"number": number}, signed=True, options=options)

    return make


def everything_killed(stage: Stage, long: bool) -> str:
    """Kill all processes of an embedded installation at once, again and again."""
    times = 20 if long else 3
    home = stage.directory / "home"
    port = servers.free_port()
    environment = {
        "TASKYARD_HOME": str(home),
        "PORT": str(port),
        "TASKYARD_CONCURRENCY": "2",
        "TASKYARD_ACTIVE_LIMIT": "1000",
        "TASKYARD_TASK_TYPES": "tests.task_types",
        "MARKS": str(stage.directory / "marks"),
    }
    starts: list[float] = []
    with Embedded(stage.directory, environment, port) as up:
        up.start()
        truth = Truth(home / "taskyard.sqlite3")
        with stage.watched(up, truth, 2, 1000, 8, redis=None) as trial:  # type: ignore[arg-type]
            for _ in range(times):
                load = trial.ledger.load(200, mixed, pool=trial.pool, a_second=100)
                time.sleep(random.uniform(0.5, 1.8))
                with trial.ledger.outage():
                    trial.lost.update(up.kill_everything())
                    assert truth.integrity() == "ok"
                    began = time.monotonic()
                    up.start()
                    starts.append(time.monotonic() - began)
                load.result()
            trial.ends_well()
            return (
                f"{times} times: {len(trial.ledger.entries)} tasks accepted, all completed, "
                f"0 double terminals, integrity ok; up again after {max(starts):.1f} s at most"
            )


class Embedded:
    """`taskyard up`, with the attributes of `Live` that a ledger uses."""

    def __init__(self, directory: Path, environment: dict[str, str], port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = directory / "up.log"
        self._env = {**clean_environment(), **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Embedded":
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            child_process.stop([self._process], seconds=40)
            assert self._process.stdout
            self._process.stdout.close()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "taskyard.server.cli", "up"],
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                preexec_fn=child_process.die_with_parent(os.getpid(), signal.SIGKILL),
            )
        assert self._process.stdout
        assert self._process.stdout.readline(), self.log.read_text()[-4000:]

    def kill_everything(self) -> list[int]:
        """Kill all processes; return them."""
        assert self._process
        assert self._process.stdout
        family = psutil.Process(self._process.pid).children(recursive=True)
        for pid in (self._process.pid, *(one.pid for one in family)):
            os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()
        psutil.wait_procs(family, timeout=10)
        return [one.pid for one in family]


ROWS = (
    Row(
        "SIGKILL of worker parent, child, web",
        "0 lost, 0 double terminals, recovery < lease + 5 s",
        killed_at_random,
    ),
    Row("SIGSTOP of a child, then CONT", "rescued < 35 s", a_child_stopped),
    Row(
        "SIGSTOP of a worker beyond its lease, then CONT",
        "rescued < 35 s, the late write refused 100 of 100",
        workers_stopped,
    ),
    Row(
        "infinite loop, GIL-holding loop, MemoryError, SIGSEGV, sys.exit, OOM",
        "that task ends in error with its reason; others unaffected; slot free",
        poisons,
    ),
    Row(
        "Redis down, restarted, FLUSHALL, hung",
        "submits 201 with p99 < 1.5 s; backlog moving ≤ 20 s after; 0 lost",
        redis_faults,
    ),
    Row(
        "PostgreSQL down, restarted at once, connections exhausted, hung",
        "503 ≤ 5 s, no false 201; serving ≤ 10 s after",
        postgresql_faults,
        ("postgresql",),
    ),
    Row(
        "switchover: the old primary stays up, read-only, and keeps its connections",
        "503 until then; web, workers and streams serve ≤ 5 s after; no restart",
        a_switchover,
        ("postgresql",),
    ),
    Row(
        "one user's quota row locked, one bulk of 7.9 MiB, 50 others at work",
        "others: 5xx = 0, p99 < 3 × of without, their tasks run; the bulk is accepted",
        one_in_trouble,
        ("postgresql",),
    ),
    Row(
        "worker ↔ PostgreSQL black-holed beyond the lease",
        "the worker stops its tasks itself; 0 double terminals",
        a_dead_link,
        ("postgresql",),
    ),
    Row(
        "one of several webs or workers cut off from PostgreSQL or Redis",
        "the others' tasks done within 1 s at p99; 0 submits refused",
        cut_off,
        ("postgresql",),
    ),
    Row("wake-up messages doubled, reordered, unknown, stale, × 10", "0 effects", strange_messages),
    Row(
        "disk full under SQLite",
        "503 or 507, no corruption, recovers",
        a_full_disk,
        ("sqlite",),
    ),
    Row(
        "three workers before the database, all parts in a random order",
        "each task begun exactly once",
        started_in_any_order,
        ("postgresql",),
    ),
    Row("queue full, rolling restart", "0 lost, 0 failed by deploy", rolling_restart),
    Row(
        "SIGKILL of everything at once, embedded",
        "every 201 still there and completed after the next start",
        everything_killed,
        ("sqlite",),
    ),
)
