"""/metrics: the state of the system in Prometheus' text format.

Each scrape reads everything from the database, so every web process gives the same values. Its cost
follows the number of active tasks (``core/stats.py``) and the number of tasks that have ended since
the last scrape (``core/durations.py``).
"""

import secrets
from collections.abc import Iterator
from dataclasses import asdict
from ipaddress import ip_address

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from taskyard import __version__
from taskyard.accounts import credentials
from taskyard.accounts.authentication import TokenAuthentication
from taskyard.accounts.claims import CHALLENGE
from taskyard.api.permissions import IsStaff
from taskyard.api.views.base import ApiView
from taskyard.catalog.task_type import registry
from taskyard.core import database_errors, durations, queues, stats
from taskyard.core.conf import conf
from taskyard.core.models import Task, Worker
from taskyard.core.redis import BrokerState
from taskyard.core.totals import totals
from taskyard.files import stats as files
from taskyard.server import health

# A request with one of these headers came through a proxy.
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_FORWARDED", "HTTP_VIA")


class MetricsClient:
    """A client that may read the metrics and is not a user in the database."""

    is_authenticated = is_staff = True


class MetricsAuthentication(BaseAuthentication):
    """Admits TASKYARD_METRICS_TOKEN, and requests without a token from this machine.

    Behind a proxy no request counts as local, because all come from the address of the proxy.
    """

    def authenticate(self, request: Request) -> tuple[MetricsClient, None] | None:
        """Raises AuthenticationFailed for a malformed header."""
        token = credentials.bearer_token(request.META.get("HTTP_AUTHORIZATION"))
        metrics_token = settings.TASKYARD_METRICS_TOKEN
        if token is None:
            return (MetricsClient(), None) if _is_local(request) else None
        if metrics_token and secrets.compare_digest(token.encode(), metrics_token.encode()):
            return MetricsClient(), None
        return None

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class Metrics(ApiView):
    authentication_classes = (MetricsAuthentication, TokenAuthentication)
    permission_classes = (IsStaff,)

    def get(self, request: Request) -> HttpResponse:
        collectors = CollectorRegistry(auto_describe=False)
        collectors.register(TaskCollector())
        return HttpResponse(generate_latest(collectors), content_type=CONTENT_TYPE_LATEST)


class TaskCollector(Collector):
    """Collects all metrics. Counters and histograms keep counting deleted and purged tasks."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield _gauge("taskyard_info", "The version that answers.", ["version"], {(__version__,): 1})
        empty = {(task_type.queue, task_type.name): stats.Depth() for task_type in registry.all()}
        depths = empty | stats.depths()
        places = ("waiting", "scheduled", "suspended", "running")
        yield _gauge(
            "taskyard_tasks_active",
            "Tasks that have not ended, by where they are.",
            ["queue", "task_type", "place"],
            {
                (*labels, place): getattr(depth, place)
                for labels, depth in depths.items()
                for place in places
            },
        )
        yield _gauge(
            "taskyard_oldest_waiting_seconds",
            "How long the task has waited that could have been begun first.",
            ["queue", "task_type"],
            {labels: depth.oldest_seconds or 0.0 for labels, depth in depths.items()},
        )
        yield _gauge(
            "taskyard_tasks_kept",
            "Tasks of users that have ended and are kept, by how.",
            ["status"],
            {(status,): count for status, count in asdict(stats.ended()).items()},
        )
        ever = totals()
        yield CounterMetricFamily(
            "taskyard_tasks_created", "Tasks of users that were ever created.", value=ever.created
        )
        ended = CounterMetricFamily(
            "taskyard_tasks_ended", "Tasks of users that ever ended, by how.", labels=["status"]
        )
        for status, count in ever.ended.items():
            ended.add_metric([status], count)
        yield ended
        system_ended = CounterMetricFamily(
            "taskyard_system_tasks_ended",
            "System tasks that have ended, by how, as of the last collection.",
            labels=["status"],
        )
        for status, count in ever.system_ended.items():
            system_ended.add_metric([status], count)
        yield system_ended
        yield from _durations()
        yield from _files()
        paused = queues.paused()
        yield _gauge(
            "taskyard_queue_paused",
            "Whether a queue is paused.",
            ["queue"],
            {(name,): name in paused for name in {*registry.queues(), *paused}},
        )
        alive = Worker.objects.alive()
        slots = list(alive.values_list("concurrency", flat=True))
        broker = health.broker()
        running = Task.objects.filter(worker__in=alive).values("worker", "process").distinct()
        for name, text, value in (
            ("taskyard_workers", "Workers with a lease.", len(slots)),
            ("taskyard_slots", "Their processes.", sum(slots)),
            ("taskyard_slots_in_use", "Those that run a claimed task.", running.count()),
            ("taskyard_broker_up", "Whether the broker can be used.", broker is BrokerState.OK),
        ):
            yield _gauge(name, text, [], {(): value})
        yield _gauge(
            "taskyard_broker_state",
            "1 for the broker's state: ok, away, or refuses (it answers with errors).",
            ["state"],
            {(state,): state is broker for state in BrokerState},
        )


def _files() -> Iterator[Metric]:
    yield _gauge(
        "taskyard_files_bytes",
        "Bytes that count for users, of files that are not being deleted.",
        [],
        {(): files.counted_bytes()},
    )
    unfinished = files.by_state()
    yield _gauge(
        "taskyard_files_unfinished",
        "Files that arrive, wait for the end of their attempt, or are to be deleted.",
        ["state"],
        {(state,): found.count for state, found in unfinished.items()},
    )
    yield _gauge(
        "taskyard_files_unfinished_bytes",
        "Their bytes, as reserved or written.",
        ["state"],
        {(state,): found.bytes for state, found in unfinished.items()},
    )


def _durations() -> Iterator[Metric]:
    """The histograms of waits and runs; while the database cannot write, as counted before."""
    try:
        durations.count()
    except (DatabaseError, InterfaceError) as error:
        if not database_errors.is_outage(error):
            raise
        database_errors.note(error)
    for measure, text in (
        ("wait", "How long tasks that have ended had waited for their first start."),
        ("run", "How long the last attempt took of tasks that have ended."),
    ):
        family = HistogramMetricFamily(
            f"taskyard_task_{measure}_seconds", text, labels=["task_type", "status"]
        )
        for histogram in durations.histograms(measure):
            labels = [histogram.task_type, histogram.status]
            family.add_metric(labels, histogram.buckets, histogram.seconds)
        yield family


def _gauge(
    name: str, text: str, labels: list[str], values: dict[tuple[str, ...], float]
) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in sorted(values.items()):
        gauge.add_metric(label_values, value)
    return gauge


def _is_local(request: Request) -> bool:
    if conf().TRUSTED_PROXIES or any(name in request.META for name in FORWARDED):
        return False
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
