"""Django tasks in a worker: their results, errors, signals and contexts. See ``test_backend``."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction

from taskyard import Cancelled, Fail, InputFile, TimedOut, jobs
from taskyard.contrib.django_tasks import Context, TaskyardBackend
from taskyard.core import history, lifecycle, transitions
from taskyard.core.engine import delete_tasks
from taskyard.core.models import AttemptWorker, LogLine
from taskyard.core.models import Task as Row
from taskyard.core.states import Status
from taskyard.core.types import LossReason
from taskyard.files import removal
from taskyard.files.models import State, StoredFile
from taskyard.worker import executor, task_log
from tests.contrib.django_tasks.conftest import Work
from tests.contrib.django_tasks.names import (
    LOGGER,
    TaskContext,
    TaskResultStatus,
    exceptions,
    signals,
)
from tests.contrib.django_tasks.shop import tasks

RUNNING, READY = TaskResultStatus.RUNNING, TaskResultStatus.READY
FAILED, SUCCESSFUL = TaskResultStatus.FAILED, TaskResultStatus.SUCCESSFUL


def end(result: Any) -> None:
    """Let a back-off end now."""
    Row.objects.filter(id=result.id, wake_at__isnull=False).update(
        wake_at=datetime.now(UTC) - timedelta(seconds=1)
    )
    lifecycle.release_due()


@pytest.fixture
def sent() -> Iterator[list[Any]]:
    """The signals of tasks that begin and end: name, sender, id, status."""
    received: list[Any] = []
    receivers = {}
    for name in ("task_started", "task_finished"):

        def receive(sender: Any, task_result: Any, name: str = name, **kwargs: Any) -> None:
            received.append((name[5:], sender, task_result.id, task_result.status))

        receivers[name] = receive
        getattr(signals, name).connect(receive)
    yield received
    for name, receive in receivers.items():
        getattr(signals, name).disconnect(receive)


@pytest.mark.parametrize("declared", [tasks.echo, tasks.echo_async])
@pytest.mark.parametrize("how", ["enqueue", "aenqueue"])
def test_a_task_runs(work: Work, declared: Any, how: str) -> None:
    call = declared.enqueue if how == "enqueue" else async_to_sync(declared.aenqueue)
    result = call(1, two=3)
    work()
    assert result.status == READY
    result.refresh()
    assert (result.status, result.is_finished) == (SUCCESSFUL, True)
    assert result.enqueued_at <= result.started_at <= result.finished_at
    assert result.last_attempted_at == result.started_at
    assert result.return_value == [[1], {"two": 3}]
    assert (result.task, result.args, result.kwargs) == (declared, [1], {"two": 3})
    assert (result.attempts, len(result.worker_ids), result.errors) == (1, 1, [])
    assert async_to_sync(declared.aget_result)(result.id) == result
    async_to_sync(result.arefresh)()
    assert declared.get_result(result.id).return_value == result.return_value


def test_a_worker_is_named_by_machine_and_processes(work: Work) -> None:
    result = tasks.process.enqueue()
    work()
    result.refresh()
    host, parent, process = result.worker_ids[0].rsplit("/", 2)
    assert host
    assert int(parent)
    assert int(process) == result.return_value


@pytest.mark.parametrize(
    ("declared", "kind", "last_line"),
    [
        (tasks.fails, ValueError, "ValueError: no such order\n"),
        (tasks.refuses, tasks.PaymentRefused, "PaymentRefused: card expired\n"),
        (tasks.refuses_async, tasks.PaymentRefused, "PaymentRefused: card expired\n"),
        (tasks.exits, SystemExit, "SystemExit: leaving\n"),
        (tasks.interrupts, KeyboardInterrupt, "KeyboardInterrupt: stop\n"),
        (tasks.nests, ValueError, "ValueError: This task failed\n"),
    ],
)
def test_an_exception_ends_a_task(work: Work, declared: Any, kind: type, last_line: str) -> None:
    result = declared.enqueue()
    work()
    result.refresh()
    assert (result.status, result.is_finished, result.attempts) == (FAILED, True, 1)
    with pytest.raises(ValueError, match="Task failed"):
        result.return_value  # noqa: B018
    assert result.enqueued_at <= result.started_at <= result.finished_at
    (error,) = result.errors
    assert error.exception_class is kind
    assert error.traceback.endswith(last_line)
    assert f"in {declared.name}" in error.traceback
    if declared is not tasks.refuses_async:  # that of a coroutine begins in the event loop
        assert "execution.py" not in error.traceback
    assert result.task == declared


def test_the_source_of_a_nested_exception_is_in_its_traceback(work: Work) -> None:
    result = tasks.nests.enqueue()
    work()
    result.refresh()
    assert 'ValueError(ValueError("This task failed"))' in result.errors[0].traceback


@pytest.mark.parametrize(
    ("what", "kind", "reason"),
    [
        ("function", TypeError, "Unsupported type"),
        ("time", TypeError, "Unsupported type"),
        ("nan", ValueError, "JSON"),
        ("null", ValueError, "U+0000"),
    ],
)
def test_a_return_value_must_be_json(work: Work, what: str, kind: type, reason: str) -> None:
    result = tasks.returns.enqueue(what)
    work()
    result.refresh()
    assert (result.status, result.errors[0].exception_class) == (FAILED, kind)
    assert reason in result.errors[0].traceback


@pytest.mark.parametrize(
    ("what", "kept"), [("tuple", [1, "2", None]), ("bytes", "text"), ("numbered", {"1": "one"})]
)
def test_a_return_value_is_kept_as_json_has_it(work: Work, what: str, kept: Any) -> None:
    result = tasks.returns.enqueue(what)
    work()
    assert tasks.returns.get_result(result.id).return_value == kept


def test_priorities_and_queues(work: Work) -> None:
    order = [tasks.noop.using(priority=priority).enqueue().id for priority in (-100, 0, 1, 100)]
    mail = tasks.mail.enqueue("a@example.org")
    assert [str(ending.task.id) for ending in work()] == order[::-1]
    assert tasks.mail.get_result(mail.id).status == READY
    work("mail")
    assert tasks.mail.get_result(mail.id).return_value == "a@example.org"


def test_a_task_waits_for_its_time(work: Work) -> None:
    result = tasks.noop.using(run_after=datetime.now(UTC) + timedelta(hours=1)).enqueue()
    assert work() == []
    end(result)
    assert len(work()) == 1


# The context


def test_a_context_knows_its_task(work: Work) -> None:
    result = tasks.own_id.enqueue()
    attempt = tasks.own_attempt_async.enqueue(1)
    work()
    result.refresh()
    attempt.refresh()
    assert result.return_value == result.id
    assert attempt.return_value is True
    assert issubclass(Context, TaskContext)


def test_a_second_attempt(work: Work, sent: list[Any]) -> None:
    result = tasks.second_time_lucky.using(max_attempts=3).enqueue()
    work()
    result.refresh()
    assert (result.status, result.is_finished, result.attempts) == (READY, False, 1)
    assert [error.exception_class for error in result.errors] == [tasks.PaymentRefused]
    end(result)
    work()
    result.refresh()
    assert result.status == SUCCESSFUL
    assert result.return_value == [2, 1, f"task-{result.id}"]
    assert (result.attempts, len(result.worker_ids)) == (2, 2)
    assert result.started_at < result.last_attempted_at
    assert [error.exception_class for error in result.errors] == [tasks.PaymentRefused]
    assert [name for name, *_ in sent] == ["started", "started", "finished"]


def test_the_last_attempt_fails(work: Work, sent: list[Any]) -> None:
    result = tasks.fails.using(max_attempts=2).enqueue()
    work()
    end(result)
    work()
    result.refresh()
    assert (result.status, len(result.errors), result.attempts) == (FAILED, 2, 2)
    assert [(name, status) for name, _, _, status in sent] == [
        ("started", RUNNING),
        ("started", RUNNING),
        ("finished", FAILED),
    ]


def test_a_sleep_is_no_end_and_no_second_start(work: Work, sent: list[Any]) -> None:
    result = tasks.sleeps.enqueue()
    work()
    result.refresh()
    assert (result.status, result.attempts) == (RUNNING, 1)
    end(result)
    work()
    result.refresh()
    assert (result.return_value, result.attempts) == ("slept", 1)
    assert [name for name, *_ in sent] == ["started", "finished"]
    assert Row.objects.get(id=result.id).progress["percent"] == 50


# Signals and logs


@pytest.mark.parametrize(
    ("declared", "status"),
    [
        (tasks.noop, SUCCESSFUL),
        (tasks.noop_async, SUCCESSFUL),
        (tasks.fails, FAILED),
        (tasks.refuses_async, FAILED),
    ],
)
def test_signals(work: Work, sent: list[Any], declared: Any, status: Any) -> None:
    result = declared.enqueue()
    work()
    assert sent == [
        ("started", TaskyardBackend, result.id, RUNNING),
        ("finished", TaskyardBackend, result.id, status),
    ]


@pytest.mark.parametrize("declared", [tasks.noop, tasks.noop_async])
def test_a_receiver_that_raises_changes_nothing(work: Work, declared: Any) -> None:
    def receive(**kwargs: Any) -> None:
        raise RuntimeError("receiver")

    for signal in (signals.task_started, signals.task_finished):
        signal.connect(receive)
    try:
        result = declared.enqueue()
        work()
    finally:
        for signal in (signals.task_started, signals.task_finished):
            signal.disconnect(receive)
    result.refresh()
    assert result.status == SUCCESSFUL


@pytest.mark.parametrize("declared", [tasks.fails, tasks.refuses_async, tasks.noop])
def test_the_server_log_has_start_and_end(
    work: Work, caplog: pytest.LogCaptureFixture, declared: Any
) -> None:
    result = declared.enqueue()
    with caplog.at_level("INFO", LOGGER):
        work()
    started, finished = [each for each in caplog.records if each.name == LOGGER]
    status = "SUCCESSFUL" if declared is tasks.noop else "FAILED"
    assert f"id={result.id} " in started.getMessage()
    assert "state=RUNNING" in started.getMessage()
    assert f"state={status}" in finished.getMessage()
    assert bool(finished.exc_info and finished.exc_info[0]) == (status == "FAILED")


def test_the_task_log_has_nothing_of_that(work: Work) -> None:
    import logging

    handler = task_log.TaskLogHandler()
    logging.getLogger().addHandler(handler)
    logging.getLogger(LOGGER).setLevel(logging.INFO)
    try:
        tasks.fails.enqueue()
        work()
    finally:
        logging.getLogger().removeHandler(handler)
        logging.getLogger(LOGGER).setLevel(logging.NOTSET)
    assert not LogLine.objects.exists()


# Ends without an exception of the task


def test_a_task_cancelled_while_it_waits(work: Work, sent: list[Any]) -> None:
    result = tasks.noop.enqueue()
    jobs.cancel(int(result.id))
    assert work() == []
    result.refresh()
    assert (result.status, result.attempts, sent) == (FAILED, 0, [])
    assert result.errors[0].exception_class is Cancelled


def test_a_worker_that_died(work: Work) -> None:
    result = tasks.noop.enqueue()
    executor.claim("default", on_failure=lambda: None)
    result.refresh()
    assert (result.status, result.worker_ids) == (RUNNING, ["unknown"])
    lifecycle.rescue(Row.objects.all(), reason_of=lambda task: LossReason.LOST)
    result.refresh()
    assert (result.status, result.attempts) == (FAILED, 1)
    assert result.errors[0].exception_class is Fail
    assert result.errors[0].traceback.startswith("worker_lost: ")


def test_a_timeout(work: Work) -> None:
    result = tasks.noop.enqueue()
    executor.claim("default", on_failure=lambda: None)
    lifecycle.rescue(Row.objects.all(), reason_of=lambda task: LossReason.TIMED_OUT)
    result.refresh()
    assert result.errors[0].exception_class is TimedOut


def test_an_attempt_that_was_lost_does_not_run(work: Work, sent: list[Any]) -> None:
    result = tasks.noop.using(max_attempts=2).enqueue()
    (claimed,), _ = executor.claim("default", on_failure=lambda: None)
    lifecycle.rescue(Row.objects.all(), reason_of=lambda task: LossReason.LOST)
    assert executor.execute(claimed).status == Status.CANCELLED
    assert sent == []
    result.refresh()
    assert result.status == READY
    assert result.errors[0].traceback.startswith("worker_lost: ")


# The rest of Taskyard


def test_an_ordinary_task_costs_no_query_more(work: Work, django_assert_num_queries: Any) -> None:
    """Of the worker's record: one SELECT and one INSERT for an attempt."""
    tasks.noop.enqueue()
    (claimed,), _ = executor.claim("default", on_failure=lambda: None)
    with django_assert_num_queries(2):
        ending = executor.execute(claimed)
    transitions.finish([ending])
    assert AttemptWorker.objects.count() == 1


def test_a_task_is_submitted_by_the_transaction_of_another(work: Work) -> None:
    with transaction.atomic():
        tasks.noop.enqueue()
        tasks.echo.enqueue(1)
    assert len(work()) == 2


def test_staff_sees_attempts_and_the_priority_of_a_handler(work: Work) -> None:
    result = tasks.mail.enqueue("a@example.org")
    assert history.about(int(result.id)).priority == "high"
    work("mail")
    row = Row.objects.get(id=result.id)
    assert [attempt.outcome for attempt in history.attempts(row)] == ["completed"]


def test_a_purge_takes_the_names_of_workers_too(work: Work) -> None:
    result = tasks.noop.enqueue()
    work()
    with transaction.atomic():
        delete_tasks([int(result.id)], with_files=[])
    assert not AttemptWorker.objects.exists()
    with pytest.raises(exceptions.TaskResultDoesNotExist):
        tasks.noop.get_result(result.id)


def test_a_task_saves_a_file_and_takes_none(work: Work) -> None:
    result = tasks.prints_invoice.enqueue(7)
    work()
    result.refresh()
    file = StoredFile.objects.get()
    assert (file.pk, file.name, file.state) == (result.return_value, "7.txt", State.READY)
    removal.delete(file)
    with pytest.raises(TypeError):
        tasks.echo.enqueue(InputFile(7))
