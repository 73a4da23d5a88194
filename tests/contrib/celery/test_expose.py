"""Tasks of a host's Celery app run in Taskyard's worker, and end as in a worker of Celery."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conftest import USUAL, start_live
from tests.contract.client import User
from tests.live_system import Live
from tests.worker.test_files import Files

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    environment = {
        **USUAL,
        "TASKYARD_TASK_TYPES": "tests.contrib.celery.host",
        "TASKYARD_CONCURRENCY": "1",
        "TASKYARD_CANCEL_GRACE_SECONDS": "1",
        "TASKYARD_SHOW_TRACEBACKS": "1",
    }
    with ExitStack() as stack:
        yield start_live(stack, tmp_path_factory.mktemp("celery"), environment)


@pytest.fixture
def user(host: Live) -> User:
    return User.register(host)


def ended(user: User, task_type: str, input_data: Any = None, **options: Any) -> dict[str, Any]:
    return user.wait(user.submit(task_type, input_data, **options))


def result_of(user: User, task_type: str, input_data: Any = None, **options: Any) -> Any:
    task = ended(user, task_type, input_data, **options)
    assert task["status"] == "completed", task
    return task["result"]


def attempts(user: User, task: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = user.http.get(f"/tasks/{task['id']}/attempts/").json()["results"]
    return sorted(found, key=lambda attempt: attempt["number"])


def begun(user: User, task_id: int) -> None:
    while user.task(task_id)["status"] == "pending":
        time.sleep(0.02)


def test_it_retries_reports_and_returns(user: User) -> None:
    ended(user, "sent")
    task = ended(user, "send-invoice", {"order_id": 7, "day": "2026-02-03"})
    assert (task["status"], task["attempt"], task["max_attempts"]) == ("completed", 2, 3), task
    assert task["result"] == {"order": 7, "day": "2026-02-03"}
    assert (task["progress"]["current"], task["progress"]["total"]) == (3, 3)
    first = attempts(user, task)[0]
    assert first["error"]["message"] == "ConnectionError: no mail server", first
    assert result_of(user, "sent") == [
        *("task_success", "task_postrun"),
        *("task_prerun", "task_retry", "task_postrun"),
        *("task_prerun", "task_success", "task_postrun", "task_prerun"),
    ]


def test_a_user_sees_what_the_task_takes(user: User) -> None:
    (found,) = (t for t in user.http.get("/task-types/").json() if t["name"] == "send-invoice")
    assert found["description"] == "Send the invoice of an order."
    schema = found["input_schema"]
    assert schema["required"] == ["order_id", "day"]
    assert {name: part["type"] for name, part in schema["properties"].items()} == {
        "order_id": "integer",
        "day": "string",
        "steps": "integer",
    }
    refused = user.create("send-invoice", {"order_id": "7", "day": "2026-02-03"})
    assert refused.status_code == 400


def test_it_takes_a_file_also_in_a_retry(host: Live, user: User) -> None:
    photo = Files(host).upload(user, "photo.png", b"\x89PNG\r\n\x1a\n")
    for again in (False, True):
        found = result_of(user, "measures", {"photo": photo, "again": again})
        assert found == ["photo.png", 8, 8]


def test_its_request_is_that_of_a_worker(user: User) -> None:
    for _ in range(2):
        task_id = user.submit("request")
        found = user.wait(task_id)["result"]
        assert found.pop("hostname").startswith("taskyard@")
        assert found.pop("delivery_info")["redelivered"] is False
        assert found == {
            "id": str(task_id),
            "root_id": str(task_id),
            "retries": 0,
            "called_directly": False,
            "current": str(task_id),
            "state": "STARTED",
            "other": "PENDING",
            "app": "host",
            "depth": 1,
        }


def test_it_retries_by_itself_with_back_off(user: User) -> None:
    began = time.monotonic()
    task = ended(user, "autoretries", {"until": 2})
    assert (task["status"], task["result"], task["attempt"]) == ("completed", 2, 3), task
    assert time.monotonic() - began >= 3, "1 s and 2 s"


def test_it_fails_after_its_last_retry(user: User) -> None:
    task = ended(user, "autoretries", {"until": 9}, max_attempts=5)
    assert (task["status"], task["attempt"]) == ("error", 3), "as max_retries says"
    assert task["error"]["message"] == "ValueError: attempt 2"
    task = ended(user, "autoretries", {"until": 9}, max_attempts=1)
    assert (task["status"], task["error"]["code"]) == ("error", "retry")
    assert task["error"]["message"] == "ValueError: attempt 0"


@pytest.mark.parametrize("naive", [True, False])
def test_it_retries_at_a_time(user: User, naive: bool) -> None:
    began = time.monotonic()
    assert result_of(user, "retries-later", {"naive": naive}) == "done"
    assert 0.5 < time.monotonic() - began < 10


def test_a_retry_changes_its_arguments(user: User) -> None:
    assert result_of(user, "pages", {"page": 1, "seen": []}) == [1, 2]


def test_a_retry_that_is_not_raised_counts(user: User) -> None:
    assert result_of(user, "retries-quietly") == "returned 1"


def test_an_exception_ends_it_at_once(user: User) -> None:
    task = ended(user, "fails", {"message": "gone"})
    assert (task["status"], task["attempt"]) == ("error", 1)
    assert task["error"]["code"] == "exception"
    assert task["error"]["message"] == "KeyError: 'gone'"
    shown = attempts(user, task)[0]
    assert "raise KeyError(message)" in str(shown), shown


@pytest.mark.parametrize(
    ("how", "status", "result", "code"),
    [
        ("ignore", "completed", None, None),
        ("success", "completed", [1, 2], None),
        ("failure", "error", {"error": "set by the task"}, "exception"),
        ("reject", "error", {"error": "not wanted"}, "rejected"),
        ("meta", "completed", None, None),
    ],
)
def test_its_ends(user: User, how: str, status: str, result: Any, code: str | None) -> None:
    task = ended(user, "ends", {"how": how})
    assert (task["status"], task["result"]) == (status, result), task
    assert (task["error"] and task["error"]["code"]) == code


def test_it_is_requeued(user: User) -> None:
    task = ended(user, "ends", {"how": "requeue"})
    assert (task["status"], task["attempt"], task["error"]["code"]) == ("error", 2, "rejected")


def test_nothing_of_an_attempt_stays(user: User) -> None:
    for how in ("exit", "reject", "failure"):
        ended(user, "ends", {"how": how}, max_attempts=1)
    ended(user, "hangs", max_attempts=1)
    assert result_of(user, "request")["depth"] == 1


def test_a_soft_time_limit_is_raised_in_it(user: User) -> None:
    assert result_of(user, "cleans-up", {"again": False}) == "cleaned up"
    task = ended(user, "cleans-up", {"again": True})
    assert (task["status"], task["error"]["code"]) == ("error", "timeout"), task


def test_it_cannot_catch_its_time_limit(user: User) -> None:
    task = ended(user, "hangs")
    assert (task["status"], task["error"]["code"]) == ("error", "timeout"), task


@pytest.mark.parametrize("task_type", ["counts", "deaf"])
def test_a_cancel_ends_it(user: User, task_type: str) -> None:
    task_id = user.submit(task_type, {"seconds": 60})
    begun(user, task_id)
    user.http.post(f"/tasks/{task_id}/cancel/")
    assert user.wait(task_id)["status"] == "cancelled"
    assert result_of(user, "request")["depth"] == 1


def test_an_abortable_task_sees_that_it_is_cancelled(user: User) -> None:
    task_id = user.submit("aborts", {"seconds": 60})
    begun(user, task_id)
    user.http.post(f"/tasks/{task_id}/cancel/")
    task = user.wait(task_id)
    assert (task["status"], task["result"]) == ("completed", "aborted"), task


def test_a_task_of_a_class_has_its_hooks(user: User) -> None:
    for _ in range(2):
        task_id = user.submit("custom", {"word": "a"})
        assert user.wait(task_id)["result"] == {
            "word": "a",
            "hooks": [f"before {task_id}", "call"],
            "id": str(task_id),
        }


def test_models_and_further_keywords(user: User) -> None:
    assert result_of(user, "models", {"order": {"number": 1}}) == {"number": 2}
    assert result_of(user, "takes-more", {"colour": "red"}) == {"colour": "red"}


def test_it_survives_its_worker(host: Live, user: User) -> None:
    task_id = user.submit("survives", {"seconds": 1})
    begun(user, task_id)
    host.kill_worker()
    host.start_worker()
    task = user.wait(task_id)
    assert (task["status"], task["result"], task["attempt"]) == ("completed", 1, 2), task
