"""/livez and /readyz: is the process alive, and can it answer requests."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from threading import Lock
from typing import Generic, TypeVar

from django.db import Error, connection
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase

from taskyard.core.redis import BrokerState, broker_state

BOUND_SECONDS = 2.0
Answer = TypeVar("Answer")


class Probe(Generic[Answer]):
    """Asks a part whether it is there, for two seconds at most.

    The question runs in a thread of its own, so a part that hangs holds that one thread and never
    a request's; while it hangs, the answer is ``away``.
    """

    def __init__(self, ask: Callable[[], Answer], *, away: Answer) -> None:
        self._ask = ask
        self._away = away
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="probe")
        self._running: Future[Answer] | None = None
        self._lock = Lock()

    def __call__(self) -> Answer:
        with self._lock:
            if self._running is None or self._running.done():
                self._running = self._thread.submit(self._ask)
            asked = self._running
        try:
            return asked.result(timeout=BOUND_SECONDS)
        except (Late, TimeoutError):
            return self._away


def database_answers() -> bool:
    try:
        connection.close_if_unusable_or_obsolete()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        connection.close()
        return False
    return True


database = Probe(database_answers, away=False)
broker = Probe(broker_state, away=BrokerState.AWAY)


class Health:
    """Middleware, not views: a probe names no host of ours and speaks no HTTPS."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path_info == "/livez":
            return JsonResponse({"status": "ok"})
        if request.path_info == "/readyz":
            return readiness()
        return self.get_response(request)


def readiness() -> JsonResponse:
    """Whether requests can be answered. That needs no broker: its state is told beside it."""
    ready = database()
    parts = {"database": "ok" if ready else "away", "broker": broker()}
    response = JsonResponse(
        {"status": "ok" if ready else "unavailable", **parts}, status=200 if ready else 503
    )
    response.headers["Cache-Control"] = "no-store"
    return response
