"""Queues, for staff."""

import pytest

from taskyard.core.models import PausedQueue
from taskyard.core.states import Status
from tests.api_client import ApiClient
from tests.fake_worker import FakeWorker

EMPTY = {"name": "default", "paused": False, "waiting": 0, "sleeping": 0, "running": 0}


def test_staff_sees_how_full_a_queue_is(
    api: ApiClient, staff: ApiClient, fake_worker: FakeWorker
) -> None:
    assert staff.get("queues/").json() == [EMPTY]
    for options in ({}, {}, {}, {"delay": 60}):
        api.create(**options)
    _running, done = fake_worker.claim(2)
    fake_worker.finish(done, Status.COMPLETED)
    assert staff.get("queues/").json() == [EMPTY | {"waiting": 1, "sleeping": 1, "running": 1}]


def test_nothing_of_a_paused_queue_begins(
    api: ApiClient, staff: ApiClient, fake_worker: FakeWorker
) -> None:
    for _ in range(2):
        paused = staff.post("queues/default/pause/")
        assert (paused.status_code, paused.json()) == (200, EMPTY | {"paused": True})
    assert PausedQueue.objects.get().paused_by.username == "staff"
    api.create()
    assert fake_worker.claim() == []
    for _ in range(2):
        resumed = staff.post("queues/default/resume")
        assert (resumed.status_code, resumed.json()) == (200, EMPTY | {"waiting": 1})
    assert len(fake_worker.claim()) == 1


@pytest.mark.parametrize("name", ["nope", "Default", "default%00", "x" * 500, "queues", "%2e"])
@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_an_unknown_queue_is_404(staff: ApiClient, name: str, verb: str) -> None:
    assert staff.post(f"queues/{name}/{verb}/").status_code == 404
    assert not PausedQueue.objects.exists()


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "queues/"), ("POST", "queues/default/pause/"), ("POST", "queues/nope/resume/")],
)
def test_queues_are_for_staff_only(
    api: ApiClient, nobody: ApiClient, method: str, path: str
) -> None:
    refused = api.ask(method, path)
    assert refused.status_code == 403
    assert refused.json() == {"detail": "Это не разрешено.", "code": "permission_denied"}
    assert nobody.ask(method, path).status_code == 401
    assert not PausedQueue.objects.exists()
