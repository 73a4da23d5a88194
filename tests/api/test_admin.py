"""The admin's pages of tasks and queues are read-only and act only through the lifecycle."""

from collections.abc import Callable

import pytest
from django.test import Client

from taskyard.accounts.models import User
from taskyard.core import queues
from taskyard.core.models import PausedQueue, Quota, Task
from taskyard.core.states import Status
from tests.api_client import ApiClient
from tests.fake_worker import FakeWorker

TASKS = "/admin/taskyard/task/"
PAUSED = "/admin/taskyard/pausedqueue/"


@pytest.fixture
def admin(new_user: Callable[..., User]) -> Client:
    client = Client()
    client.force_login(new_user("root", is_staff=True, is_superuser=True))
    return client


def test_a_task_is_shown_and_cannot_be_written(admin: Client, api: ApiClient) -> None:
    task_id = api.create().json()["id"]
    assert admin.get(f"{TASKS}?q={task_id}").status_code == 200
    page = admin.get(f"{TASKS}{task_id}/change/").content.decode()
    assert "Запланировано" in page
    assert 'name="status"' not in page
    assert "_save" not in page
    before = Task.objects.values().get()
    assert admin.post(f"{TASKS}{task_id}/change/", {"status": "completed"}).status_code == 403
    assert admin.get(f"{TASKS}add/").status_code == 403
    assert Task.objects.values().get() == before


def test_only_what_has_ended_can_be_deleted(
    admin: Client, api: ApiClient, fake_worker: FakeWorker
) -> None:
    task_id = api.create().json()["id"]
    assert admin.post(f"{TASKS}{task_id}/delete/", {"post": "yes"}).status_code == 403
    selected = {"action": "delete_selected", "_selected_action": [task_id], "post": "yes"}
    assert admin.post(TASKS, selected).status_code == 403
    fake_worker.end(Status.COMPLETED)
    again = api.create().json()["id"]
    assert admin.post(f"{TASKS}{task_id}/delete/", {"post": "yes"}).status_code == 302
    assert list(Task.objects.values_list("id", flat=True)) == [again]
    fake_worker.end(Status.COMPLETED)
    assert admin.post(TASKS, selected | {"_selected_action": [again]}).status_code == 302
    assert not Task.objects.exists()


def test_tasks_are_cancelled_by_the_lifecycle(
    admin: Client, api: ApiClient, fake_worker: FakeWorker
) -> None:
    done = api.create().json()["id"]
    fake_worker.end(Status.COMPLETED)
    waiting = api.create().json()["id"]
    selected = {"action": "cancel", "_selected_action": [done, waiting]}
    page = admin.post(TASKS, selected, follow=True).content.decode()
    assert "Отменено или попрошено остановиться: 1." in page
    assert Task.objects.get(id=waiting).status == Status.CANCELLED
    assert Task.objects.get(id=waiting).cancel_requested_by == User.objects.get(username="root")
    assert Task.objects.get(id=done).status == Status.COMPLETED
    assert Quota.objects.get(user__username="newuser").active == 0


def test_an_owner_is_deleted_once_nothing_of_theirs_is_active(
    admin: Client, api: ApiClient, user: User
) -> None:
    task_id = api.create().json()["id"]
    address = f"/admin/taskyard_accounts/user/{user.pk}/delete/"
    assert admin.post(address, {"post": "yes"}).status_code == 403
    api.post(f"tasks/{task_id}/cancel/")
    assert admin.post(address, {"post": "yes"}).status_code == 302
    assert not Task.objects.exists()


def test_a_queue_is_paused_by_adding_it_and_resumed_by_deleting_it(admin: Client) -> None:
    assert admin.post(f"{PAUSED}add/", {"name": "nope"}).status_code == 200
    assert queues.paused() == set()
    assert admin.post(f"{PAUSED}add/", {"name": "default"}).status_code == 302
    assert queues.paused() == {"default"}
    assert PausedQueue.objects.get().paused_by == User.objects.get(username="root")
    assert admin.post(f"{PAUSED}add/", {"name": "default"}).status_code == 200
    assert admin.post(f"{PAUSED}default/change/", {"name": "x"}).status_code == 403
    assert admin.post(f"{PAUSED}default/delete/", {"post": "yes"}).status_code == 302
    assert queues.paused() == set()
    queues.pause("default", by_id=None)
    selected = {"action": "delete_selected", "_selected_action": ["default"], "post": "yes"}
    assert admin.post(PAUSED, selected).status_code == 302
    assert queues.paused() == set()
