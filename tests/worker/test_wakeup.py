"""Wake-ups on a real broker: what is sent, and to which process."""

import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from taskyard.core import lifecycle, queues
from taskyard.core.redis import client
from taskyard.core.types import NewTask
from taskyard.worker import identity, idle_listener, maintenance, wakeup
from taskyard.worker.consumer import Consumer
from taskyard.worker.idle_listener import HELD_SECONDS, WAIT_SECONDS, IdleListener
from taskyard.worker.process_table import ProcessTable

pytestmark = pytest.mark.usefixtures("django_db_setup")


@pytest.fixture
def queue() -> str:
    return f"queue-{secrets.token_hex(4)}"


@pytest.fixture
def waiting(queue: str) -> Iterator[str]:
    """To this queue a process listens."""
    keeper = IdleListener([queue], "keeper")
    assert next(keeper.wakeups()) == queue
    yield queue
    keeper.release()


def messages(queue: str) -> int:
    with client() as redis:
        return int(redis.llen(wakeup.keys_of(queue).messages))


def test_a_bell_that_rings_sends_no_second_message(queue: str) -> None:
    for _ in range(3):
        wakeup.notify(queue)
    assert messages(queue) == 1
    wakeup.acknowledge(queue)
    wakeup.notify(queue)
    assert messages(queue) == 2


def test_who_keeps_vigil_is_called_once_and_without_a_message(waiting: str) -> None:
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


def test_whatever_was_committed_before_the_vigil_is_looked_for(queue: str) -> None:
    assert next(IdleListener([queue], "keeper").wakeups()) == queue


def test_others_are_woken_by_a_message_all_the_same(waiting: str) -> None:
    wakeup.send_message(waiting)
    wakeup.send_message(waiting)
    assert messages(waiting) == 1


def test_two_never_wait_at_one_bell(waiting: str) -> None:
    assert list(IdleListener([waiting], "another").wakeups()) == []


def test_of_several_queues_only_those_are_kept_at_which_nobody_waits(
    waiting: str, queue: str
) -> None:
    free = f"{queue}-free"
    wakeups = IdleListener([waiting, free], "another").wakeups()
    assert next(wakeups) == free
    wakeup.notify(waiting)
    wakeup.notify(free)
    assert next(wakeups) == free


def test_nobody_waits_while_a_message_is_under_way(queue: str) -> None:
    wakeup.notify(queue)
    assert list(IdleListener([f"{queue}-other", queue], "keeper").wakeups()) == []


def test_nor_while_one_of_several_messages_stands_in_the_broker(queue: str) -> None:
    for _ in range(2):
        wakeup.notify(queue)
        wakeup.acknowledge(queue)
    assert list(IdleListener([queue], "keeper").wakeups()) == []


def test_who_has_rung_for_others_is_called_to_no_other_queue(queue: str) -> None:
    full, other = f"{queue}-full", f"{queue}-other"
    keeper = IdleListener([full, other], "keeper")
    assert next(keeper.wakeups()) == full
    Consumer(keeper)._send_message(full)
    wakeup.notify(other)
    assert (messages(full), messages(other)) == (1, 1)


def test_what_was_said_to_somebody_who_died_alone_becomes_a_message(waiting: str) -> None:
    wakeup.notify(waiting)
    idle_listener.end([waiting])
    assert messages(waiting) == 0, "he is waiting still, for all that is known"
    time.sleep(HELD_SECONDS + 0.1)
    idle_listener.end([waiting])
    idle_listener.end([waiting])
    assert messages(waiting) == 1


def test_who_is_waited_for_by_a_message_leaves_the_vigil(waiting: str) -> None:
    wakeups = IdleListener([waiting], "keeper").wakeups()
    wakeup.notify(waiting)
    assert next(wakeups) == waiting
    wakeup.send_message(waiting)
    assert list(wakeups) == []


def test_a_call_that_was_not_heard_becomes_a_message(queue: str) -> None:
    keeper = IdleListener([queue], "keeper")
    assert next(keeper.wakeups()) == queue
    wakeup.notify(queue)
    keeper.release()
    assert messages(queue) == 1


def test_a_process_that_died_on_its_vigil_is_not_waited_for(waiting: str) -> None:
    wakeup.notify(waiting)
    idle_listener.end([waiting], "somebody else")
    assert messages(waiting) == 0
    idle_listener.end([waiting], "keeper")
    assert messages(waiting) == 1


def test_a_process_that_says_nothing_is_not_waited_for_long(waiting: str) -> None:
    wakeup.notify(waiting)
    time.sleep(HELD_SECONDS + 0.1)
    wakeup.notify(waiting)
    assert messages(waiting) == 1


def test_a_vigil_is_kept_for_longer_than_it_is_held_at_once(waiting: str) -> None:
    wakeups = IdleListener([waiting], "keeper").wakeups()
    later = threading.Timer(HELD_SECONDS + WAIT_SECONDS, wakeup.notify, [waiting])
    later.start()
    assert next(wakeups) == waiting
    later.join()
    assert messages(waiting) == 0


def test_after_the_broker_was_emptied_everything_is_looked_for_again(queue: str) -> None:
    wakeups = IdleListener([queue], "keeper").wakeups()
    assert next(wakeups) == queue
    with client() as redis:
        redis.delete(*wakeup.keys_of(queue))
    assert next(wakeups) == queue, "what was sent meanwhile was not taken"
    wakeup.notify(queue)
    assert next(wakeups) == queue
    assert messages(queue) == 0


def test_a_worker_that_drains_waits_no_more(queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    process_table = ProcessTable()
    monkeypatch.setattr(identity, "process_table", lambda: process_table)
    wakeups = IdleListener([queue], "keeper").wakeups()
    assert next(wakeups) == queue
    process_table.drain()
    assert list(wakeups) == []
    process_table.remove()


@pytest.mark.django_db(transaction=True)
def test_a_bulk_rings_once_it_is_committed(queue: str, django_user_model: Any) -> None:
    owner = django_user_model.objects.create_user("owner", password="password123")
    rows = [NewTask(task_type="sum", queue=queue, input_data={"numbers": [1]})] * 3
    with transaction.atomic():
        lifecycle.submit_all(owner.pk, rows)
        assert messages(queue) == 0
    assert messages(queue) == 1


@pytest.mark.django_db
def test_work_that_nobody_was_woken_for_is_seen(queue: str, django_user_model: Any) -> None:
    owner = django_user_model.objects.create_user("owner", password="password123")
    rows = [NewTask(task_type="sum", queue=queue, input_data={"numbers": [1]})] * 3
    lifecycle.submit_all(owner.pk, rows)
    assert maintenance.ready([queue, "empty"], up_to=2) == {queue: 2}
    queues.pause(queue, by_id=None)
    assert maintenance.ready([queue], up_to=2) == {}
