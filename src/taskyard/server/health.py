"""/livez and /readyz: is the process alive, and can it accept work and answer."""

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
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

OK = "ok"
BOUND_SECONDS = 2.0
# Anybody may ask, and each question is a write.
FRESH_SECONDS = 1.0
# A single write of SQLite may take seconds, and others wait for it; that is no outage yet.
KEPT_SECONDS = 5.0
Answer = TypeVar("Answer")


class Probe(Generic[Answer]):
    """Asks a part how it is, for two seconds at most.

    The question runs in a thread of its own, so a part that hangs holds that one thread and never
    a request's; while it hangs, the answer is ``away``. An answer is given again for ``fresh``
    seconds, and while the part hangs for ``kept`` seconds.
    """

    def __init__(
        self, ask: Callable[[], Answer], *, away: Answer, fresh: float = 0.0, kept: float = 0.0
    ) -> None:
        self._ask = ask
        self._away = away
        self._fresh_seconds = fresh
        self._kept_seconds = kept
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="probe")
        self._running: Future[Answer] | None = None
        self._lock = Lock()
        self._answer = away
        self._answered_at = -math.inf

    def __call__(self) -> Answer:
        if self._age() < self._fresh_seconds:
            return self._answer
        with self._lock:
            if self._running is None or self._running.done():
                self._running = self._thread.submit(self._ask)
            asked = self._running
        try:
            self._answer = asked.result(timeout=BOUND_SECONDS)
            self._answered_at = time.monotonic()
        except (Late, TimeoutError):
            return self._answer if self._age() < self._kept_seconds else self._away
        return self._answer

    def _age(self) -> float:
        return time.monotonic() - self._answered_at


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
        # To wait for others is no outage: they write.
        return OK if outage is Outage.BUSY else (outage or Outage.DAMAGED).value
    return OK


def is_migrated() -> bool:
    """Whether the newest migration of each app is applied. Raises DatabaseError."""
    applied = set(MigrationRecorder(connection).migration_qs.values_list("app", "name"))
    if newest_migrations() <= applied:
        return True
    # Those that a squashed one replaces count too.
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


@cache
def newest_migrations() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None).graph.leaf_nodes())


database = Probe(database_state, away=Outage.AWAY.value, fresh=FRESH_SECONDS, kept=KEPT_SECONDS)
broker = Probe(broker_state, away=BrokerState.AWAY)


class Health:
    """Middleware, not views: a probe names no host of ours and speaks no HTTPS."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info in ("/livez", "/livez/"):
            return JsonResponse({"status": "ok"})
        if request.path_info in ("/readyz", "/readyz/"):
            return readiness()
        return self.get_response(request)


def readiness() -> JsonResponse:
    """503 if the database cannot be used. A broker that is away stops no submit."""
    parts = {"database": database(), "broker": broker()}
    ready = parts["database"] == OK
    response = JsonResponse(
        {"status": "ok" if ready else "unavailable", **parts}, status=200 if ready else 503
    )
    response.headers["Cache-Control"] = "no-store"
    return response
