"""/livez and /readyz: whether the process is alive, and whether it can accept tasks."""

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import cache
from threading import Lock
from typing import Generic, TypeVar

from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from taskyard.core.database_errors import Outage, outage_of
from taskyard.core.engine import prove_writable
from taskyard.core.redis import BrokerState, broker_state
from taskyard.files import storage
from taskyard.files.errors import StorageFull, StorageUnavailable

OK = "ok"
LIVENESS_PATHS = ("/livez", "/livez/")
READINESS_PATHS = ("/readyz", "/readyz/")
PATHS = (*LIVENESS_PATHS, *READINESS_PATHS)
TIMEOUT_SECONDS = 2.0
# Each check writes to the database, and the request needs no token.
CACHE_SECONDS = 1.0
# A check of the files writes and deletes one; in S3 each request is paid for.
FILES_CACHE_SECONDS = 30.0
FILES_STALE_SECONDS = 60.0
# One write of SQLite may take seconds, and other writes wait for it; that is no outage yet.
STALE_SECONDS = 5.0
State = TypeVar("State")


class Probe(Generic[State]):
    """Checks the database, the broker or the files, for at most two seconds.

    The check runs in a thread of its own, so a check that hangs blocks that one thread and never a
    request. The result is cached for ``cache_seconds``. While a check hangs, the result is the last
    one for ``stale_seconds``, and then ``away``.
    """

    def __init__(
        self,
        check: Callable[[], State],
        *,
        away: State,
        cache_seconds: float = 0.0,
        stale_seconds: float = 0.0,
    ) -> None:
        self._check = check
        self._away = away
        self._cache_seconds = cache_seconds
        self._stale_seconds = stale_seconds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="probe")
        self._running: Future[State] | None = None
        self._lock = Lock()
        self._state = away
        self._checked_at = -math.inf

    def __call__(self) -> State:
        if self._age() < self._cache_seconds:
            return self._state
        with self._lock:
            if self._running is None or self._running.done():
                self._running = self._thread.submit(self._check)
            running = self._running
        try:
            self._state = running.result(timeout=TIMEOUT_SECONDS)
            self._checked_at = time.monotonic()
        except (FutureTimeoutError, TimeoutError):
            return self._state if self._age() < self._stale_seconds else self._away
        return self._state

    def _age(self) -> float:
        return time.monotonic() - self._checked_at


def database_state() -> str:
    """``ok`` if the database is migrated and takes writes, else the kind of outage."""
    try:
        connection.close_if_unusable_or_obsolete()
        if not is_migrated():
            return Outage.UNMIGRATED.value
        prove_writable()
    except (DatabaseError, InterfaceError) as error:
        outage = outage_of(error)
        connection.close()
        # While other transactions write, the database is available.
        return OK if outage is Outage.BUSY else (outage or Outage.DAMAGED).value
    return OK


def is_migrated() -> bool:
    """Whether the newest migration of each app is applied. Raises DatabaseError."""
    applied = set(MigrationRecorder(connection).migration_qs.values_list("app", "name"))
    if newest_migrations() <= applied:
        return True
    # A squashed migration also counts as applied if all that it replaces are.
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def files_state() -> str:
    """``ok`` if the storage of files takes, gives and deletes a file, else ``full`` or ``away``."""
    try:
        storage.try_out()
    except StorageFull:
        return "full"
    except StorageUnavailable:
        return "away"
    return OK


@cache
def newest_migrations() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).graph.leaf_nodes())


database = Probe(
    database_state,
    away=Outage.AWAY.value,
    cache_seconds=CACHE_SECONDS,
    stale_seconds=STALE_SECONDS,
)
broker = Probe(broker_state, away=BrokerState.AWAY)
files = Probe(
    files_state,
    away="away",
    cache_seconds=FILES_CACHE_SECONDS,
    stale_seconds=FILES_STALE_SECONDS,
)


class Health:
    """Middleware that answers probes before the checks of host and HTTPS, which they would fail."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info in LIVENESS_PATHS:
            return JsonResponse({"status": "ok"})
        if request.path_info in READINESS_PATHS:
            return readiness()
        return self.get_response(request)


def readiness() -> JsonResponse:
    """503 if the database cannot be used.

    Without a broker tasks are still accepted, and without files those that need none: 200.
    """
    states = {"database": database(), "broker": broker(), "files": files()}
    ready = states["database"] == OK
    response = JsonResponse(
        {"status": "ok" if ready else "unavailable", **states}, status=200 if ready else 503
    )
    response.headers["Cache-Control"] = "no-store"
    return response
