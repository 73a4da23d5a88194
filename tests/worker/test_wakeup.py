"""Wake-ups on a real broker: what is sent, and to which process."""

import secrets
import threading
import time
from collections.abc import Iterator

import pytest
from django.db import transaction

from taskyard.core import lifecycle, queues, wakeup
from taskyard.core.redis import client
from taskyard.core.types import NewTask, UserId
from taskyard.worker import identity, idle_listener, maintenance
from taskyard.worker.consumer import Consumer
from taskyard.worker.idle_listener import HELD_SECONDS, WAIT_SECONDS, IdleListener
from taskyard.worker.process_table import ProcessTable

pytestmark = pytest.mark.usefixtures("django_db_setup")


@pytest.fixture
def queue() -> str:
    return f"queue-{secrets.token_hex(4)}"


@pytest.fixture
def waiting(queue: str) -> Iterator[str]:
    """A queue to which a process listens."""
    listener = IdleListener([queue], "keeper")
    assert next(listener.wakeups()) == queue
    yield queue
    listener.release()


def messages(queue: str) -> int:
    with client() as redis:
        return int(redis.llen(wakeup.keys_of(queue).messages))


def test_no_second_message_is_sent_while_one_is_under_way(queue: str) -> None:
    for _ in range(3):
        wakeup.notify(queue)
    assert messages(queue) == 1
    wakeup.acknowledge(queue)
    wakeup.notify(queue)
    assert messages(queue) == 2


def test_a_listener_is_called_once_and_without_a_message(waiting: str) -> None:
    for _ in range(3):
        wakeup.notify(waiting)
    with client() as redis:
        assert redis.llen(wakeup.keys_of(waiting).calls) == 1
    calls = IdleListener([waiting], "keeper").wakeups()
    assert next(calls) == waiting
    began = time.monotonic()
    wakeup.notify(waiting)
    assert next(calls) == waiting
    assert time.monotonic() - began < WAIT_SECONDS
    assert messages(waiting) == 0


def test_a_new_listener_polls_for_earlier_tasks(queue: str) -> None:
    assert next(IdleListener([queue], "keeper").wakeups()) == queue


def test_a_message_can_be_sent_although_a_process_listens(waiting: str) -> None:
    wakeup.send_message(waiting)
    wakeup.send_message(waiting)
    assert messages(waiting) == 1


def test_two_processes_never_listen_to_one_queue(waiting: str) -> None:
    assert list(IdleListener([waiting], "another").wakeups()) == []


def test_a_process_listens_to_the_queues_that_have_no_listener(waiting: str, queue: str) -> None:
    free = f"{queue}-free"
    wakeups = IdleListener([waiting, free], "another").wakeups()
    assert next(wakeups) == free
    wakeup.notify(waiting)
    wakeup.notify(free)
    assert next(wakeups) == free


def test_no_process_listens_while_a_message_is_under_way(queue: str) -> None:
    wakeup.notify(queue)
    assert list(IdleListener([f"{queue}-other", queue], "keeper").wakeups()) == []


def test_no_process_listens_while_the_broker_has_a_message(queue: str) -> None:
    for _ in range(2):
        wakeup.notify(queue)
        wakeup.acknowledge(queue)
    assert list(IdleListener([queue], "keeper").wakeups()) == []


def test_a_process_that_has_sent_a_message_is_not_called(queue: str) -> None:
    full, other = f"{queue}-full", f"{queue}-other"
    listener = IdleListener([full, other], "keeper")
    assert next(listener.wakeups()) == full
    Consumer(listener)._send_message(full)
    wakeup.notify(other)
    assert (messages(full), messages(other)) == (1, 1)


def test_a_call_to_a_dead_listener_becomes_a_message(waiting: str) -> None:
    wakeup.notify(waiting)
    idle_listener.end([waiting])
    assert messages(waiting) == 0, "its key has not expired"
    time.sleep(HELD_SECONDS + 0.1)
    idle_listener.end([waiting])
    idle_listener.end([waiting])
    assert messages(waiting) == 1


def test_a_listener_stops_when_a_message_is_under_way(waiting: str) -> None:
    wakeups = IdleListener([waiting], "keeper").wakeups()
    wakeup.notify(waiting)
    assert next(wakeups) == waiting
    wakeup.send_message(waiting)
    assert list(wakeups) == []


def test_an_unanswered_call_becomes_a_message(queue: str) -> None:
    listener = IdleListener([queue], "keeper")
    assert next(listener.wakeups()) == queue
    wakeup.notify(queue)
    listener.release()
    assert messages(queue) == 1


def test_the_key_of_a_dead_listener_is_removed(waiting: str) -> None:
    wakeup.notify(waiting)
    idle_listener.end([waiting], "somebody else")
    assert messages(waiting) == 0
    idle_listener.end([waiting], "keeper")
    assert messages(waiting) == 1


def test_the_key_of_a_silent_listener_expires(waiting: str) -> None:
    wakeup.notify(waiting)
    time.sleep(HELD_SECONDS + 0.1)
    wakeup.notify(waiting)
    assert messages(waiting) == 1


def test_a_listener_renews_its_key(waiting: str) -> None:
    wakeups = IdleListener([waiting], "keeper").wakeups()
    later = threading.Timer(HELD_SECONDS + WAIT_SECONDS, wakeup.notify, [waiting])
    later.start()
    assert next(wakeups) == waiting
    later.join()
    assert messages(waiting) == 0


def test_a_listener_polls_again_after_the_broker_was_emptied(queue: str) -> None:
    wakeups = IdleListener([queue], "keeper").wakeups()
    assert next(wakeups) == queue
    with client() as redis:
        redis.delete(*wakeup.keys_of(queue))
    assert next(wakeups) == queue, "what was sent meanwhile was not taken"
    wakeup.notify(queue)
    assert next(wakeups) == queue
    assert messages(queue) == 0


def test_a_process_of_a_draining_worker_stops_listening(
    queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    process_table = ProcessTable()
    monkeypatch.setattr(identity, "process_table", lambda: process_table)
    wakeups = IdleListener([queue], "keeper").wakeups()
    assert next(wakeups) == queue
    process_table.drain()
    assert list(wakeups) == []
    process_table.remove()


@pytest.mark.django_db(transaction=True)
def test_a_bulk_submit_sends_a_message_after_its_commit(queue: str, owner_id: UserId) -> None:
    rows = [NewTask(task_type="sum", queue=queue, input_data={"numbers": [1]})] * 3
    with transaction.atomic():
        lifecycle.submit_all(owner_id, rows)
        assert messages(queue) == 0
    assert messages(queue) == 1


@pytest.mark.django_db
def test_work_whose_wake_up_was_lost_is_found(queue: str, owner_id: UserId) -> None:
    rows = [NewTask(task_type="sum", queue=queue, input_data={"numbers": [1]})] * 3
    lifecycle.submit_all(owner_id, rows)
    assert maintenance.ready([queue, "empty"], up_to=2) == {queue: 2}
    queues.pause(queue, by_id=None)
    assert maintenance.ready([queue], up_to=2) == {}
