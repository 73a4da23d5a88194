"""Slow and faulty task types for tests."""

import asyncio
import locale
import logging
import math
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db import DatabaseError, connection, transaction
from django.utils import translation

from taskyard import Accepts, Fail, InputFile, OutputFile, Retry, Run, task_type
from taskyard.catalog.run import Cancelled, Suspend, TimedOut
from taskyard.worker.fast_path import UNCLAIMED_LIMIT_SECONDS
from tests import asking

__all__ = ["asking"]
User = get_user_model()


@task_type("busy")
def busy(seconds: float) -> str:
    """Hold a worker for some seconds."""
    time.sleep(seconds)
    return "done"


@task_type("raises", max_attempts=2, backoff=lambda attempt: 0.2)
def raises(run: Run, message: str) -> None:
    raise ValueError(f"{message} {run.attempt}")


@task_type("fails")
def fails(code: str, message: str) -> None:
    raise Fail(code, message)


@task_type("mumbles")
def mumbles() -> None:
    raise Fail("mumbled", "page 7 \ud800\0")


@task_type("misspeaks", max_attempts=1)
def misspeaks(run: Run, how: str) -> None:
    """Say of itself what cannot be written down."""
    match how:
        case "code":
            raise Fail(404, "no such page")  # type: ignore[arg-type]
        case "message":
            run.progress(1, 2, message=None)  # type: ignore[arg-type]
        case "decimal":
            run.progress(Decimal("0.5"), 1)  # type: ignore[arg-type]
        case "huge":
            run.progress(10**308, 1)
        case "never":
            raise Retry("later", after=math.inf)
        case "mute":
            raise Mute


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@task_type("retries", max_attempts=2)
def retries(run: Run, after: float) -> int:
    if run.attempt == 1:
        raise Retry("not yet", after=after)
    return run.attempt


@task_type("exits", max_attempts=1)
def exits() -> None:
    raise SystemExit(3)


@task_type("runs-out-of-memory", max_attempts=1)
def runs_out_of_memory() -> None:
    raise MemoryError


@task_type("dies", max_attempts=2)
def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task_type("returns-nothing")
def returns_nothing() -> None:
    return None


@task_type("power")
def power(base: int, exponent: int) -> int:
    return int(base**exponent)


@task_type("returns-a-lie")
def returns_a_lie() -> int:
    return "not a number"  # type: ignore[return-value]


@task_type("cooperates", max_attempts=1)
def cooperates(run: Run, seconds: float) -> str:
    """Work in small steps and look up between them."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.05)
        run.raise_if_cancelled()
    return "done"


@task_type("spins")
def spins(seconds: float) -> str:
    """A loop that never looks up and swallows what it can."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            sum(range(1000))
        except Exception:
            continue
    return "done"


@task_type("holds-the-gil")
def holds_the_gil() -> int:
    """One C call that neither ends nor can be interrupted."""
    return sum(range(10**12))


@task_type("segfaults", max_attempts=1)
def segfaults() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


@task_type("says-much")
def says_much(run: Run, times: int) -> int:
    """Progress and a log line, as fast as it can."""
    for number in range(times):
        run.progress(number, total=times)
        run.log(f"line {number}")
    return times


@task_type("returns-much")
def returns_much(size: int) -> str:
    return "x" * size


@task_type("report", max_attempts=5)
def report(run: Run, die_after: list[str]) -> dict[str, Any]:
    """Three steps with a nap between them; the process is killed once after each step named."""
    state: dict[str, Any] = run.checkpoint or {"done": [], "died": []}
    for step in ("fetch", "compute", "publish"):
        if step not in state["done"]:
            run.log(f"{step} in attempt {run.attempt}")
            run.checkpoint = state = {**state, "done": [*state["done"], step]}
        if step in die_after and step not in state["died"]:
            run.checkpoint = {**state, "died": [*state["died"], step]}
            os.kill(os.getpid(), signal.SIGKILL)
    run.sleep(0.2)
    return state


def leave_a_mark(run: Run) -> None:
    """Outside of the database, which may know nothing of it: this task was begun."""
    if marks := os.environ.get("MARKS"):
        with open(marks, "ab", buffering=0) as file:
            file.write(f"{run.task_id}\n".encode())


@task_type("signs", max_attempts=3)
def signs(run: Run, number: int, first: float = 0, then: float = 0) -> dict[str, int]:
    """Say which attempt did it; the first takes ``first`` seconds, each other one ``then``."""
    leave_a_mark(run)
    time.sleep(first if run.attempt == 1 else then)
    return {"number": number, "attempt": run.attempt}


@task_type("fills-the-memory", max_attempts=1)
def fills_the_memory() -> int:
    """Allocate to the last byte of the process's limit; without a limit, nothing."""
    if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        raise Fail("unlimited", "refuses to fill the memory of the machine")
    held, size = [], 2**26
    while True:
        try:
            held.append(bytearray(size))
        except MemoryError:
            if size == 1:
                raise
            size //= 2


@task_type("quick", batch=50)
def quick(does: str = "nothing") -> str:
    """Takes no time, unless it dies or is slow."""
    if does == "die":
        if marks := os.environ.get("MARKS"):
            with open(marks, "ab", buffering=0) as file:
                file.write(b"0\n")
        os.kill(os.getpid(), signal.SIGKILL)
    if does == "dawdle":
        time.sleep(UNCLAIMED_LIMIT_SECONDS + 2)
    return does


def _work(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


def _takes_a_moment_to_encode() -> dict[str, Any]:
    return {"process": os.getpid(), "numbers": list(range(5000))}


@task_type("ends-in-time")
def ends_in_time(run: Run, seconds: float, reports: bool = False) -> dict[str, Any]:
    """Works so long, and its end takes a moment."""
    _work(seconds)
    if reports:
        run.progress(1, total=1)
    return _takes_a_moment_to_encode()


@task_type("ends-in-time-together", batch=50)
def ends_in_time_together(seconds: float) -> dict[str, Any]:
    """The same without a Run: on the fast path once it is known to be quick."""
    _work(seconds)
    return _takes_a_moment_to_encode()


@task_type("sleeps-then-works")
def sleeps_then_works(run: Run, nap: float, work: float) -> str:
    run.sleep(nap)
    leave_a_mark(run)
    time.sleep(work)
    return "done"


@task_type("echoes")
def echoes(run: Run, text: str) -> str:
    """Say it, and give it back."""
    run.log(text)
    return text


@task_type("talks")
def talks(words: str, lines: int = 0) -> None:
    """Say something in every way that people do."""
    logger = logging.getLogger("author.library")
    logger.debug("%s debugged", words)
    logger.warning("%s logged", words)
    thread = threading.Thread(target=logger.info, args=("%s from a thread", words))
    thread.start()
    thread.join()
    print(words, "printed\nin two lines", end="")
    print(words, "complained", file=sys.stderr)
    for number in range(lines):
        logger.info("line %s", number)


@task_type("mutters")
def mutters() -> None:
    """Leave a thread behind that goes on talking."""
    logger = logging.getLogger("author.library")

    def mutter() -> None:
        for _ in range(100):
            time.sleep(0.02)
            logger.info("a secret of another task")

    threading.Thread(target=mutter, daemon=True).start()


def _square(number: int) -> int:
    return number * number


@task_type("uses-processes", max_attempts=1)
def uses_processes(method: str, numbers: list[int]) -> list[int]:
    """As scientists do it: a pool of processes inside of a task."""
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        return list(pool.map(_square, numbers))


def _note_and_sleep(directory: str) -> None:
    Path(directory, str(os.getpid())).touch()
    time.sleep(600)


@task_type("leaves-children", max_attempts=1)
def leaves_children(directory: str, then: str) -> str:
    """Start a program, one in its own session, a fork, and a daemon that has lost its parent."""
    note = f"touch {directory}/$$; exec sleep 600"
    subprocess.Popen(["sh", "-c", note])
    subprocess.Popen(["sh", "-c", note], start_new_session=True)
    multiprocessing.get_context("fork").Process(target=_note_and_sleep, args=(directory,)).start()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _note_and_sleep(directory)
        os._exit(0)
    while len(list(Path(directory).iterdir())) < 4:
        time.sleep(0.01)
    match then:
        case "hang":
            holds_the_gil()
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
    return then


@task_type("forks", max_attempts=1)
def forks(how: str) -> str:
    """Both processes leave the handler; the parent last."""
    forked = os.fork()
    if forked == 0:
        if how == "raises":
            raise ValueError("the child")
        return "child"
    os.waitpid(forked, 0)
    return "parent"


_garbage: list[bytes] = []


@task_type("leaks", max_attempts=1)
def leaks(kib: int) -> int:
    """Never forget so much; the process that did."""
    _garbage.append(os.urandom(1024) * kib)
    return os.getpid()


@task_type("leaks-in-batches", batch=50)
def leaks_in_batches(kib: int) -> int:
    return leaks(kib)


@task_type("names-its-process", max_attempts=1)
def names_its_process() -> int:
    return os.getpid()


@task_type("owns-a-transaction", max_attempts=1)
def owns_a_transaction(run: Run, seconds: float) -> str:
    """Report from inside of a transaction of its own, which is then rolled back."""
    with suppress(ZeroDivisionError), transaction.atomic():
        User.objects.create(username=f"inside-{run.task_id}")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            run.progress(1, total=2, message="inside")
            run.log("from inside")
            time.sleep(0.1)
        run.checkpoint = {"kept": "inside"}
        raise ZeroDivisionError
    return "out"


@task_type("runs-a-loop", max_attempts=2, backoff=lambda attempt: 0.1)
def runs_a_loop(run: Run) -> dict[str, Any]:
    """Everything that a Run has, from a loop of the handler's own and from its threads."""
    kept = run.checkpoint or {"loop": 0}

    async def work() -> None:
        for number in range(3):
            run.progress(number, total=3)
            run.log(f"in the loop {number}")
            await asyncio.sleep(0.3)
        assert not run.cancelled
        run.raise_if_cancelled()
        if kept["loop"] == 0:
            run.checkpoint = {"loop": 1}
            run.sleep(0.2)

    def in_a_thread() -> None:
        run.progress(3, total=3)
        run.log("in a thread")
        run.checkpoint = {**(run.checkpoint or {}), "thread": True}

    asyncio.run(work())
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: in_a_thread(), range(4)))
    if run.attempt == 1:
        raise Retry("once more", after=0.1)
    return dict(run.checkpoint)


def _left_alone(how: str) -> None:
    """Do something to the process or its connection that the next handler must not meet."""
    match how:
        case "aborted":
            transaction.atomic().__enter__()
            with suppress(DatabaseError), connection.cursor() as cursor:
                cursor.execute("SELECT nothing FROM nowhere")
        case "open":
            transaction.atomic().__enter__()
            User.objects.create(username=f"open-{time.monotonic_ns()}")
        case "read-only":
            with connection.cursor() as cursor:
                if connection.vendor == "postgresql":
                    cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
                else:
                    cursor.execute("PRAGMA query_only = ON")
        case "settings":
            with connection.cursor() as cursor:
                if connection.vendor == "postgresql":
                    cursor.execute("SET search_path = nowhere")
                    cursor.execute("SET TimeZone = 'Asia/Tokyo'")
                else:
                    cursor.execute("PRAGMA busy_timeout = 0")
        case "autocommit":
            transaction.set_autocommit(False)
        case "closed":
            User.objects.exists()
            connection.close()
        case "closed-below":
            connection.ensure_connection()
            connection.connection.close()
        case "configured":
            connection.settings_dict["NAME"] = "/nowhere/at/all"
            connection.settings_dict["OPTIONS"].clear()
            connection.close()
        case "stdio":
            for number in (0, 1, 2):
                os.close(number)
            os.open("/dev/null", os.O_RDONLY)
        case "directory":
            directory = tempfile.mkdtemp()
            os.chdir(directory)
            os.rmdir(directory)
        case "umask":
            os.umask(0o777)
        case "locale":
            locale.setlocale(locale.LC_ALL, "C.UTF-8")
            translation.activate("de")
        case "signals":
            for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_IGN)
            signal.alarm(2)
        case "blocked":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGALRM})
        case "threads":
            threading.Thread(target=time.sleep, args=(600,)).start()
        case "exit":
            os._exit(0)
        case "generator":
            raise GeneratorExit
        case "keyboard":
            raise KeyboardInterrupt
        case "mute":
            raise Mute


@task_type("misbehaves", max_attempts=1)
def misbehaves(how: str) -> str:
    _left_alone(how)
    return "done"


@task_type("looks-around", max_attempts=1, timeout=30)
def looks_around(run: Run) -> dict[str, Any]:
    """What a handler finds: its database as new, and its process as it was started."""
    with transaction.atomic(durable=True):
        user = User.objects.create(username=f"next-{run.task_id}")
    run.progress(1, total=2)
    run.log("looks around")
    run.checkpoint = "here"
    umask = os.umask(0)
    os.umask(umask)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT current_setting('TimeZone'), current_setting('search_path')")
        else:
            cursor.execute("PRAGMA query_only")
        session = [str(value) for value in cursor.fetchone()]
    streams = []
    for number in (0, 1, 2):
        os.fstat(number)
        streams.append(os.readlink(f"/proc/self/fd/{number}"))
    return {
        "pid": os.getpid(),
        "found": User.objects.filter(pk=user.pk).exists(),
        "session": session,
        "streams": streams,
        "directory": os.getcwd(),
        "umask": umask,
        "locale": locale.setlocale(locale.LC_ALL),
        "language": translation.get_language(),
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "signals": [str(signal.getsignal(n)) for n in (signal.SIGTERM, signal.SIGCHLD)],
        "alarm": signal.getitimer(signal.ITIMER_REAL)[0] < 31,
    }


@task_type("quick-with-database", batch=50)
def quick_with_database(name: str = "", does: str = "nothing") -> str:
    """Quick, and now and then it turns to the database."""
    if does == "nothing":
        return does
    told: list[str] = []
    if does == "abort":
        transaction.atomic().__enter__()
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")
    with transaction.atomic(durable=True):
        User.objects.create(username=name)
        transaction.on_commit(lambda: told.append("told"))
    return told[0]


_visits: ContextVar[int] = ContextVar("visits", default=0)


@task_type("async")
async def an_async_one(run: Run, does: str) -> dict[str, Any]:
    """A coroutine, and what coroutines do."""
    loop = asyncio.get_running_loop()
    _visits.set(_visits.get() + 1)
    answer = {"loop": id(loop), "visits": _visits.get(), "tasks": len(asyncio.all_tasks())}
    match does:
        case "database":
            user = await User.objects.acreate(username=f"async-{run.task_id}")
            answer["found"] = await User.objects.filter(pk=user.pk).aexists()
        case "leave":
            leftover = loop.create_task(asyncio.sleep(600))
            leftover.add_done_callback(_kept_alive.append)
        case "linger":
            loop.create_task(_never_ends()).add_done_callback(_kept_alive.append)
            await asyncio.sleep(0)
        case "hang":
            try:
                await asyncio.sleep(600)
            finally:
                run.log("cleaned up")
        case "swallow":
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(600)
            answer["swallowed"] = True
        case "exit":
            raise SystemExit(3)
        case "own-timeout":
            async with asyncio.timeout(0.05):
                await asyncio.sleep(600)
    return answer


_kept_alive: list[Any] = []


async def _never_ends() -> None:
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(600)


@task_type("async-sleeps")
async def async_sleeps(run: Run, seconds: float) -> list[int]:
    """Sleep durably, also from a group."""
    kept = list(run.checkpoint or [])
    if len(kept) < 2:
        run.checkpoint = kept = [*kept, len(kept)]
        run.progress(len(kept), total=2)
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(600))
            group.create_task(_sleep_in_a_group(run, seconds))
    return kept


async def _sleep_in_a_group(run: Run, seconds: float) -> None:
    await asyncio.sleep(0.01)
    run.sleep(seconds)


@task_type("async-without-run")
async def async_without_run(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slept"


@task_type("hides-a-coroutine")
def hides_a_coroutine(seconds: float) -> Any:
    """What a decorator makes of a coroutine function."""
    return async_without_run(seconds)


@task_type("raises-together")
def raises_together(raised: list[str]) -> None:
    """As a TaskGroup does it: a group in a group."""
    errors: dict[str, BaseException] = {
        "sleep": Suspend(datetime(2040, 1, 1, tzinfo=UTC)),
        "sleep-longer": Suspend(datetime(2041, 1, 1, tzinfo=UTC)),
        "bug": ValueError("bug"),
        "retry": Retry("later"),
        "fail": Fail("gone", "for good"),
        "cancelled": Cancelled(),
        "timeout": TimedOut(),
    }
    group = BaseExceptionGroup("deeper", [errors[name] for name in raised])
    raise BaseExceptionGroup("together", [group])


@task_type("counts-visits")
def counts_visits() -> int:
    _visits.set(_visits.get() + 1)
    return _visits.get()


@task_type("keeps-and-fails", max_attempts=3, backoff=lambda attempt: 0)
def keeps_and_fails(run: Run) -> list[int]:
    """Keep the number of each attempt; the third succeeds."""
    run.checkpoint = [*(run.checkpoint or []), run.attempt]
    if run.attempt < 3:
        raise ValueError("not yet")
    return list(run.checkpoint)


@task_type("introspects")
def introspects(run: Run) -> dict[str, Any]:
    """Say what the run knows of its task."""
    owner = {"id": run.owner.id, "name": run.owner.name}
    return {"owner": owner, "tags": run.tags, "type": run.task_type, "priority": run.priority}


@task_type("introspects-in-a-loop")
async def introspects_in_a_loop(run: Run) -> dict[str, Any]:
    return introspects(run)


if apps.is_installed("taskyard.files"):

    @task_type("sizes")
    def sizes(tables: list[InputFile]) -> list[int]:
        """Read files."""
        return [table.size for table in tables]

    @task_type("copies")
    def copies(run: Run, source: InputFile) -> OutputFile:
        """Save a copy of a file."""
        with source.open() as stream:
            return run.save_file(f"copy of {source.name}", stream)

    @task_type("takes-image")
    def takes_image(image: Annotated[InputFile, Accepts("image/*", max_bytes=1000)]) -> int:
        return image.size
