"""Enqueue and read Django tasks, without a worker.

The intents are those of the tests of Django 6.1 (``tests/tasks``) and of django-tasks and
django-tasks-db for a backend; ``docs/how-to/django-tasks.md`` lists them.
"""

import asyncio
import dataclasses
import pickle
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import django
import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.test import override_settings

from taskyard import Secret
from taskyard.contrib.django_tasks import TaskyardBackend, TaskyardTask
from taskyard.core import idempotency
from taskyard.core.errors import ActiveLimitExceeded, KeyReused
from taskyard.core.models import Quota
from taskyard.core.models import Task as Row
from taskyard.core.states import Status
from tests.contrib.django_tasks.names import (
    LOGGER,
    InvalidTask,
    InvalidTaskBackend,
    Task,
    TaskResultStatus,
    default_task_backend,
    exceptions,
    signals,
    task,
    task_backends,
)
from tests.contrib.django_tasks.shop import tasks
from tests.contrib.django_tasks.tasks_setting import TASKS

HERE = "tests.contrib.django_tasks.shop.tasks"
TASKYARD = TASKS["default"]["BACKEND"]
NAMELESS = lambda: None  # noqa: E731
PAST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def rows(transactional_db: None) -> Any:
    return Row.objects.order_by("id")


@pytest.fixture
def user(transactional_db: None, django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("owner", password="password123")


# The settings and the declaration


def test_the_settings_choose_the_backend() -> None:
    assert default_task_backend == task_backends["default"]
    assert isinstance(task_backends["default"], TaskyardBackend)
    assert default_task_backend.alias == "default"
    assert task_backends["any"].options == {"MAX_ATTEMPTS": 2}


@pytest.mark.parametrize("flag", ["defer", "async_task", "get_result", "priority"])
def test_everything_is_supported(flag: str) -> None:
    assert getattr(default_task_backend, f"supports_{flag}") is True


@pytest.mark.parametrize("declared", [tasks.noop, tasks.bare, tasks.noop_async])
def test_the_decorator_makes_tasks_with_and_without_parentheses(declared: Any) -> None:
    assert isinstance(declared, TaskyardTask)
    assert isinstance(declared, Task)


def test_a_task_has_a_name_and_a_path() -> None:
    assert (tasks.noop.name, tasks.noop.module_path) == ("noop", f"{HERE}.noop")


def test_an_option_in_the_decorator() -> None:
    assert (tasks.mail.priority, tasks.mail.queue_name, tasks.mail.run_after) == (7, "mail", None)
    with pytest.raises(TypeError):
        task(unknown_option=1)(tasks.noop.func)  # type: ignore[call-overload]


@pytest.mark.skipif(
    (6, 0) <= django.VERSION < (6, 1), reason="@task of Django 6.0 takes no further options"
)
def test_an_option_of_taskyard_in_the_decorator() -> None:
    often: Any = task(max_attempts=3)(tasks.noop.func)  # type: ignore[call-overload]
    assert often.max_attempts == 3


@pytest.mark.parametrize("function", [any, default_task_backend.check])
def test_a_function_must_be_of_a_module(function: Any) -> None:
    with pytest.raises(InvalidTask, match="module level"):
        task()(function)


def test_a_function_must_have_a_path() -> None:
    with pytest.raises(InvalidTask, match="not a path"):
        task()(NAMELESS)


def test_a_context_must_be_the_first_parameter() -> None:
    with pytest.raises(InvalidTask, match="first argument of 'context'"):
        task(takes_context=True)(tasks.noop.func)


def takes_a_secret(names: list[Annotated[str, Secret]]) -> None: ...


def test_a_secret_is_refused_because_arguments_are_kept_in_clear() -> None:
    with pytest.raises(InvalidTask, match=r"takes a Secret.*taskyard\.task_type"):
        task()(takes_a_secret)


@pytest.mark.skipif(django.VERSION < (6, 0), reason="the backport accepts and ignores it")
def test_a_time_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="run_after"):
        task(run_after=PAST)(tasks.noop.func)  # type: ignore[call-overload]


def test_what_a_script_declares_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.noop.func, "__module__", "__main__")
    with pytest.raises(InvalidTask, match="workers cannot import"):
        task()(tasks.noop.func)


def test_a_call_in_place_needs_no_worker() -> None:
    assert tasks.ship.call(7, express=True) == "7 at once"
    assert tasks.echo_async.call(1) == [(1,), {}]
    assert asyncio.run(tasks.echo_async.acall(1)) == [(1,), {}]
    assert async_to_sync(tasks.ship.acall)(7) == "7 soon"


# using


def test_using_makes_a_new_task() -> None:
    assert tasks.noop.using() == tasks.noop
    assert tasks.noop.using() is not tasks.noop
    changed = tasks.noop.using(priority=1, queue_name="mail", run_after=PAST).using(priority=2)
    assert (changed.priority, changed.queue_name, changed.run_after) == (2, "mail", PAST)
    assert (tasks.noop.priority, tasks.noop.queue_name) == (0, "default")


def test_using_keeps_the_options_of_taskyard() -> None:
    changed = tasks.noop.using(owner=5, key="k", max_attempts=4).using(priority=1)
    assert (changed.owner_id, changed.key, changed.max_attempts) == (5, "k", 4)


def test_using_another_backend() -> None:
    other = tasks.noop.using(backend="any")
    assert other.get_backend() is task_backends["any"]
    with pytest.raises(InvalidTaskBackend, match="The connection 'unknown' doesn't exist"):
        tasks.noop.using(backend="unknown")
    with (
        override_settings(TASKS={**TASKS, "missing": {"BACKEND": "does.not.exist"}}),
        pytest.raises(InvalidTaskBackend, match=r"Could not find backend 'does.not.exist'"),
    ):
        tasks.noop.using(backend="missing")


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ({"priority": -101}, "priority must be"),
        ({"priority": 101}, "priority must be"),
        ({"priority": 3.1}, "priority must be"),
        ({"run_after": datetime(2026, 1, 1)}, "aware"),  # noqa: DTZ001
        ({"queue_name": "unknown"}, "Queue 'unknown' is not valid"),
        ({"queue_name": "Не очередь", "backend": "any"}, "lower-case letters"),
        ({"max_attempts": 11}, "max_attempts must be"),
        ({"max_attempts": True}, "max_attempts must be"),
        ({"key": ""}, "key must be"),
        ({"key": "ключ"}, "key must be"),
        ({"key": "k" * 256}, "key must be"),
    ],
)
def test_a_wrong_option_is_refused(option: Any, reason: str) -> None:
    with pytest.raises(InvalidTask, match=reason):
        tasks.noop.using(**option)


@pytest.mark.parametrize("priority", [-100, 0, 100])
def test_the_whole_range_of_priorities(priority: int) -> None:
    assert tasks.noop.using(priority=priority).priority == priority


def test_no_queues_allow_any_queue() -> None:
    assert tasks.noop.using(queue_name="other", backend="any").queue_name == "other"


# enqueue


@pytest.mark.parametrize("declared", [tasks.noop, tasks.noop_async])
@pytest.mark.parametrize("how", ["enqueue", "aenqueue"])
def test_enqueue(rows: Any, declared: Any, how: str) -> None:
    call = declared.enqueue if how == "enqueue" else async_to_sync(declared.aenqueue)
    result = call(1, two=3)
    assert (result.status, result.is_finished) == (TaskResultStatus.READY, False)
    assert (result.task, result.args, result.kwargs) == (declared, [1], {"two": 3})
    assert (result.started_at, result.last_attempted_at, result.finished_at) == (None, None, None)
    assert (result.attempts, result.worker_ids, result.errors) == (0, [], [])
    assert result.backend == "default"
    with pytest.raises(ValueError, match="has not finished"):
        result.return_value  # noqa: B018
    row = rows.get()
    assert (str(row.id), row.created_at) == (result.id, result.enqueued_at)
    assert (row.task_type, row.queue) == (declared.module_path, "default")
    assert row.input_data == {"args": [1], "kwargs": {"two": 3}}
    assert (row.owner_id, row.max_attempts, row.status) == (None, 1, Status.PENDING)


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), (("seven", 8), {}), ((7, 8), {}), ((7,), {"order_id": 7})]
)
def test_a_wrong_call_is_refused_where_it_is_made(rows: Any, args: Any, kwargs: Any) -> None:
    with pytest.raises(TypeError):
        tasks.ship.enqueue(*args, **kwargs)
    with pytest.raises(TypeError):
        async_to_sync(tasks.ship.aenqueue)(*args, **kwargs)
    assert not rows.exists()


def test_a_context_is_no_argument_of_the_call(rows: Any) -> None:
    assert tasks.own_id.enqueue().args == []
    with pytest.raises(TypeError):
        tasks.own_id.enqueue("context")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (PAST, "Unsupported type"),
        ({1}, "Unsupported type"),
        (tasks.noop, "Unsupported type"),
        (b"\xff", "Unsupported value"),
        (float("nan"), "JSON"),
        (float("inf"), "JSON"),
        ("a\0b", "U\\+0000"),
        ("\ud800", "surrogates"),
        ("x" * 300_000, "the limit is 262144"),
    ],
)
def test_an_argument_must_be_json(rows: Any, value: Any, reason: str) -> None:
    for call in (tasks.noop.enqueue, async_to_sync(tasks.noop.aenqueue)):
        with pytest.raises((TypeError, ValueError), match=reason):
            call(value)
        with pytest.raises((TypeError, ValueError), match=reason):
            call(value=[{"deep": value}])
    assert not rows.exists()


def test_arguments_are_kept_as_json_has_them(rows: Any) -> None:
    given = ((1, "2"), b"text", {1: "one"}, 2**70, 0.1, None, True)
    result = tasks.noop.enqueue(*given)
    assert result.args == [[1, "2"], "text", {"1": "one"}, 2**70, 0.1, None, True]
    assert tasks.noop.get_result(result.id).args == result.args


def test_the_options_reach_the_row(rows: Any) -> None:
    later = datetime(2030, 1, 1, 12, 30, 0, 123456, tzinfo=UTC)
    wanted = tasks.noop.using(priority=50, queue_name="mail", run_after=later, max_attempts=5)
    result = wanted.enqueue()
    row = rows.get()
    assert (row.queue, row.max_attempts, row.run_at) == ("mail", 5, later)
    assert (row.ready, row.wake_at) == (False, later)
    assert result.task == wanted
    assert tasks.noop.get_result(result.id).task == wanted
    assert tasks.noop.get_result(result.id) == result


def test_a_time_that_has_passed_makes_ready_at_once(rows: Any) -> None:
    tasks.noop.using(run_after=PAST).enqueue()
    assert rows.get().ready


def test_the_default_of_attempts_is_the_backends(rows: Any) -> None:
    tasks.noop.using(backend="any").enqueue()
    tasks.noop.using(backend="any", max_attempts=1).enqueue()
    assert [row.max_attempts for row in rows] == [2, 1]


def test_options_are_checked_again_by_the_settings_of_the_moment(rows: Any) -> None:
    mail = tasks.noop.using(queue_name="mail")
    with override_settings(TASKS={"default": {"BACKEND": TASKYARD, "QUEUES": ["other"]}}):
        for call in (mail.enqueue, async_to_sync(mail.aenqueue)):
            with pytest.raises(InvalidTask, match="Queue 'mail' is not valid"):
                call()
    assert not rows.exists()


def test_no_backends() -> None:
    with (
        override_settings(TASKS={"other": {"BACKEND": TASKYARD}}),
        pytest.raises(InvalidTaskBackend),
    ):
        tasks.noop.enqueue()


def test_a_rollback_takes_the_task_with_it(rows: Any) -> None:
    with transaction.atomic():
        result = tasks.noop.enqueue()
        assert tasks.noop.get_result(result.id) == result
        transaction.set_rollback(True)
    with pytest.raises(exceptions.TaskResultDoesNotExist):
        tasks.noop.get_result(result.id)
    with transaction.atomic():
        tasks.noop.enqueue()
    assert rows.count() == 1


def test_a_task_made_for_another_backend(rows: Any) -> None:
    with override_settings(
        TASKS={
            **TASKS,
            "default": {"BACKEND": f"{LOGGER}.backends.immediate.ImmediateBackend"},
            "taskyard": TASKS["default"],
        }
    ):
        immediate = task()(tasks.ship.func)
        assert not isinstance(immediate, TaskyardTask)
        assert immediate.using(backend="taskyard").enqueue(7).status == TaskResultStatus.READY
    assert rows.get().task_type == f"{HERE}.ship"


# owner and key


def test_a_task_has_no_owner_unless_one_is_named(rows: Any, user: Any) -> None:
    tasks.noop.enqueue()
    assert (rows.get().owner_id, Quota.objects.count()) == (None, 0)
    result = tasks.noop.using(owner=user).enqueue()
    assert rows.last().owner_id == user.pk
    assert tasks.noop.get_result(result.id).task.owner_id == user.pk
    assert tasks.noop.using(owner=user.pk) == tasks.noop.using(owner=user)


def test_an_owner_must_be_saved() -> None:
    with pytest.raises(ValueError, match="no primary key"):
        tasks.noop.using(owner=AnonymousUser())


def test_the_quota_of_an_owner_counts(rows: Any, user: Any) -> None:
    for _ in range(5):
        tasks.noop.using(owner=user).enqueue()
    with pytest.raises(ActiveLimitExceeded):
        tasks.noop.using(owner=user).enqueue()
    assert tasks.noop.enqueue()


@pytest.mark.parametrize("owned", [False, True])
def test_a_key_makes_one_task(rows: Any, user: Any, owned: bool) -> None:
    send = tasks.noop.using(key="order-7", owner=user if owned else None)
    first, second = send.enqueue(7), send.enqueue(7)
    assert (first.id, rows.count()) == (second.id, 1)
    with pytest.raises(KeyReused):
        send.enqueue(8)
    with pytest.raises(KeyReused):
        tasks.echo.using(key="order-7", owner=user if owned else None).enqueue(7)
    assert tasks.noop.using(key="order-8").enqueue(7).id != first.id


def test_keys_of_owners_are_apart(rows: Any, user: Any) -> None:
    ids = {tasks.noop.using(key="k", owner=owner).enqueue().id for owner in (None, user)}
    assert len(ids) == 2


def test_a_key_of_the_owners_own_requests_is_another(user: Any) -> None:
    other = idempotency.fingerprint("create", {})
    idempotency.once(user.pk, "welcome", other, lambda: [0])
    send = tasks.echo.using(owner=user, key="welcome")
    assert send.enqueue(a=1, b=2).id == send.enqueue(b=2, a=1).id


# get_result


def test_a_result_is_read_again(rows: Any) -> None:
    result = tasks.noop.enqueue(1)
    assert tasks.noop.get_result(result.id) == result
    assert default_task_backend.get_result(result.id) == result
    assert async_to_sync(tasks.noop.aget_result)(result.id) == result
    assert async_to_sync(default_task_backend.aget_result)(result.id) == result


@pytest.mark.parametrize("result_id", ["123", "", "abc", "-1", "1.5", "9" * 40, "１", "a" * 32])
def test_no_such_result(rows: Any, result_id: str) -> None:
    with pytest.raises(exceptions.TaskResultDoesNotExist):
        tasks.noop.get_result(result_id)
    with pytest.raises(exceptions.TaskResultDoesNotExist):
        async_to_sync(tasks.noop.aget_result)(result_id)


def test_a_task_of_another_kind_is_no_result(rows: Any, user: Any) -> None:
    from taskyard import jobs

    other = jobs.submit("sum", {"numbers": [1]})
    with pytest.raises(exceptions.TaskResultDoesNotExist):
        default_task_backend.get_result(str(other.pk))


def test_a_result_of_another_task(rows: Any) -> None:
    result = tasks.noop_async.enqueue()
    with pytest.raises(exceptions.TaskResultMismatch, match="Task does not match"):
        tasks.noop.get_result(result.id)
    with pytest.raises(exceptions.TaskResultMismatch, match="Task does not match"):
        async_to_sync(tasks.noop.aget_result)(result.id)


def test_refresh_without_a_change(rows: Any) -> None:
    result = tasks.noop.enqueue()
    before = dataclasses.asdict(result)
    result.refresh()
    assert dataclasses.asdict(result) == before
    async_to_sync(result.arefresh)()
    assert dataclasses.asdict(result) == before


def test_a_cancelled_task_has_failed(rows: Any) -> None:
    from taskyard import Cancelled, jobs

    result = tasks.noop.enqueue()
    jobs.cancel(int(result.id))
    result.refresh()
    assert (result.status, result.is_finished) == (TaskResultStatus.FAILED, True)
    assert result.finished_at is not None
    assert [error.exception_class for error in result.errors] == [Cancelled]
    with pytest.raises(ValueError, match="Task failed"):
        result.return_value  # noqa: B018


def test_a_task_stays_readable_when_its_queue_is_gone(rows: Any) -> None:
    result = tasks.noop.using(queue_name="mail").enqueue()
    with override_settings(TASKS={"default": {"BACKEND": TASKYARD}}):
        assert default_task_backend.get_result(result.id).task.queue_name == "mail"


# signals, logs, pickles


def test_the_signal_of_an_enqueue(rows: Any) -> None:
    sent: list[Any] = []

    def receive(sender: Any, task_result: Any, **kwargs: Any) -> None:
        sent.append((sender, task_result.id, task_result.status))

    signals.task_enqueued.connect(receive)
    try:
        send = tasks.noop.using(key="once")
        result = send.enqueue()
        send.enqueue()
    finally:
        signals.task_enqueued.disconnect(receive)
    assert sent == [(TaskyardBackend, result.id, TaskResultStatus.READY)]


def test_an_enqueue_is_logged(rows: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG", LOGGER):
        result = tasks.noop.enqueue()
    (record,) = [each for each in caplog.records if each.name == LOGGER]
    assert f"id={result.id} path={HERE}.noop enqueued backend=default" in record.getMessage()


@pytest.mark.skipif(django.VERSION < (6, 1), reason="since Django 6.1")
def test_tasks_and_results_are_pickled(rows: Any, user: Any) -> None:
    owned = tasks.noop.using(priority=3, owner=user, max_attempts=2)
    assert pickle.loads(pickle.dumps(owned)) == owned
    result = owned.enqueue(1)
    assert pickle.loads(pickle.dumps(result)) == result


def test_a_task_is_hashable() -> None:
    assert len({tasks.noop, tasks.noop.using(), tasks.noop.using(max_attempts=2)}) == 2


def test_many_enqueues_have_ids_in_their_order(rows: Any) -> None:
    began = datetime.now(UTC) - timedelta(seconds=60)
    with transaction.atomic():
        results = [tasks.noop.enqueue(number) for number in range(20)]
    assert [int(result.id) for result in results] == [row.id for row in rows]
    assert all(result.enqueued_at > began for result in results)
