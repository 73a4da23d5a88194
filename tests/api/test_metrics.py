"""/metrics: its content, and the permission to read it."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from taskyard.core import queues
from taskyard.core.states import Status
from taskyard.files.models import FileUsage, State, StoredFile
from tests.api.test_outages import read_only, without
from tests.api_client import ApiClient
from tests.configured import configure
from tests.fake_worker import FakeWorker

TOKEN = "scrapers-only-9f2c"
AFAR = {"REMOTE_ADDR": "203.0.113.9"}
RUNS = ("taskyard_task_run_seconds_count", "completed", "sum")


def asked(token: str | None = None, **meta: Any) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Client().get("/metrics", headers=headers, **meta)


def samples(answer: Any) -> dict[tuple[str, ...], float]:
    """The samples by name and label values, in the order of the labels' names."""
    assert answer.status_code == 200, answer.content
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def test_it_says_where_the_tasks_are(api: ApiClient, fake_worker: FakeWorker) -> None:
    api.create(delay=60)
    for _ in range(3):
        api.create()
    fake_worker.finish(fake_worker.claim(1)[0], Status.COMPLETED, result="6")
    queues.pause("default", by_id=None)
    found = samples(asked())
    assert found["taskyard_tasks_active", "waiting", "default", "sum"] == 2
    assert found["taskyard_tasks_active", "scheduled", "default", "sum"] == 1
    assert found["taskyard_tasks_active", "running", "default", "sum"] == 0
    assert found["taskyard_oldest_waiting_seconds", "default", "sum"] > 0
    assert found["taskyard_tasks_created_total",] == 4
    assert found["taskyard_tasks_ended_total", "completed"] == 1
    assert found["taskyard_tasks_ended_total", "error"] == 0
    assert found["taskyard_tasks_kept", "completed"] == 1
    assert found["taskyard_queue_paused", "default"] == 1
    assert found["taskyard_broker_up",] == 1
    assert found["taskyard_workers",] == found["taskyard_slots",] == 1
    assert found["taskyard_slots_in_use",] == 0
    assert any(name == "taskyard_info" for name, *_ in found)


@pytest.mark.django_db(transaction=True)
def test_it_says_how_long_tasks_waited_and_ran(api: ApiClient, fake_worker: FakeWorker) -> None:
    assert not any(name.startswith("taskyard_task_") for name, *_ in samples(asked()))
    for status in (Status.COMPLETED, Status.COMPLETED, Status.ERROR):
        api.create()
        fake_worker.end(status, result="6")
    for _ in range(2):
        found = samples(asked())
        for name in ("taskyard_task_wait_seconds", "taskyard_task_run_seconds"):
            assert found[f"{name}_bucket", "+Inf", "completed", "sum"] == 2
            assert found[f"{name}_bucket", "14400.0", "completed", "sum"] == 2
            assert found[f"{name}_count", "completed", "sum"] == 2
            assert found[f"{name}_count", "error", "sum"] == 1
            assert 0 <= found[f"{name}_sum", "completed", "sum"] < 60


@pytest.mark.django_db(transaction=True)
def test_a_read_only_database_says_what_was_counted_before(
    api: ApiClient, fake_worker: FakeWorker
) -> None:
    asked()
    for counted in (1, 2):
        api.create()
        fake_worker.end(Status.COMPLETED, result="6")
        with read_only():
            found = samples(asked())
            assert found["taskyard_tasks_ended_total", "completed"] == counted
            assert found.get(RUNS, 0) == counted - 1
        assert samples(asked())[RUNS] == counted


@pytest.mark.django_db(transaction=True)
def test_before_a_migration_it_is_a_503() -> None:
    with without("taskyard_durationcount"):
        assert asked().status_code == 503


def test_it_is_prometheus_text(db: None) -> None:
    assert asked().headers["Content-Type"].startswith("text/plain; version=")


@pytest.mark.parametrize(
    ("meta", "status"),
    [
        ({}, 200),
        ({"REMOTE_ADDR": "::1"}, 200),
        (AFAR, 401),
        ({"REMOTE_ADDR": ""}, 401),
        # The request came through a proxy on this machine.
        ({"HTTP_X_FORWARDED_FOR": "127.0.0.1"}, 401),
        ({"HTTP_X_REAL_IP": "127.0.0.1"}, 401),
        ({"HTTP_FORWARDED": "for=127.0.0.1"}, 401),
        ({"HTTP_VIA": "1.1 proxy"}, 401),
    ],
)
def test_without_a_token_it_is_for_this_machine_only(
    db: None, meta: dict[str, str], status: int
) -> None:
    answer = asked(**meta)
    assert answer.status_code == status
    if status == 401:
        assert answer.json()["code"] == "not_authenticated"
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'


def test_behind_a_declared_proxy_nobody_is_local(db: None, settings: Any) -> None:
    configure(settings, TRUSTED_PROXIES=1)
    assert asked().status_code == 401


def test_its_own_token_opens_it_and_nothing_else(db: None, settings: Any) -> None:
    assert asked(TOKEN, **AFAR).status_code == 401
    settings.TASKYARD_METRICS_TOKEN = TOKEN
    assert asked(TOKEN, **AFAR).status_code == 200
    assert asked(TOKEN[:-1], **AFAR).status_code == 401
    assert ApiClient(Client(), TOKEN).get("tasks/").status_code == 401


def test_staff_may_read_it_and_users_may_not(staff: ApiClient, api: ApiClient) -> None:
    assert asked(staff.access, **AFAR).status_code == 200
    refused = asked(api.access, **AFAR)
    assert (refused.status_code, refused.json()["code"]) == (403, "permission_denied")
    # A request with a token is judged by the token, also from this machine.
    assert asked(api.access).status_code == 403
    assert asked("rubbish").status_code == 401


def test_it_is_read_only(db: None) -> None:
    assert Client().post("/metrics").status_code == 405


def test_where_the_database_is_away_it_is_a_503(db: None) -> None:
    def away(*args: Any) -> None:
        raise OperationalError("away")

    with connection.execute_wrapper(away):
        answer = asked()
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_it_says_what_files_take(db: None) -> None:
    owner = get_user_model().objects.create(username="owner", password="!")
    FileUsage.objects.create(user=owner, bytes=30)
    for state, size in ((State.READY, 20), (State.WRITING, 10), (State.DELETING, 5)):
        StoredFile.objects.create(owner=owner, key=state, role="input", state=state, size=size)
    found = samples(asked())
    assert found["taskyard_files_bytes",] == 30
    assert found["taskyard_files_unfinished", "writing"] == 1
    assert found["taskyard_files_unfinished", "written"] == 0
    assert found["taskyard_files_unfinished_bytes", "deleting"] == 5
