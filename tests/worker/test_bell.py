"""The bell and whoever waits at it, on a real broker: what is sent, and to whom."""

import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from taskyard.core import lifecycle, queues
from taskyard.core.redis import client
from taskyard.core.values import NewTask
from taskyard.worker import bell, identity, upkeep, vigil
from taskyard.worker.slots import Slots
from taskyard.worker.turn import Turn
from taskyard.worker.vigil import HELD_SECONDS, WAIT_SECONDS, Vigil

pytestmark = pytest.mark.usefixtures("django_db_setup")


@pytest.fixture
def queue() -> str:
    return f"queue-{secrets.token_hex(4)}"


@pytest.fixture
def waiting(queue: str) -> Iterator[str]:
    """At this queue's bell somebody waits."""
    keeper = Vigil([queue], "keeper")
    assert next(keeper.bells()) == queue
    yield queue
    keeper.release()


def messages(queue: str) -> int:
    with client() as redis:
        return int(redis.llen(bell.keys_of(queue).messages))


def test_a_bell_that_rings_sends_no_second_message(queue: str) -> None:
    for _ in range(3):
        bell.ring(queue)
    assert messages(queue) == 1
    bell.silence(queue)
    bell.ring(queue)
    assert messages(queue) == 2


def test_who_keeps_vigil_is_called_once_and_without_a_message(waiting: str) -> None:
    for _ in range(3):
        bell.ring(waiting)
    with client() as redis:
        assert redis.llen(bell.keys_of(waiting).calls) == 1
    calls = Vigil([waiting], "keeper").bells()
    assert next(calls) == waiting
    began = time.monotonic()
    bell.ring(waiting)
    assert next(calls) == waiting
    assert time.monotonic() - began < WAIT_SECONDS
    assert messages(waiting) == 0


def test_whatever_was_committed_before_the_vigil_is_looked_for(queue: str) -> None:
    assert next(Vigil([queue], "keeper").bells()) == queue


def test_others_are_woken_by_a_message_all_the_same(waiting: str) -> None:
    bell.ring_for_others(waiting)
    bell.ring_for_others(waiting)
    assert messages(waiting) == 1


def test_two_never_wait_at_one_bell(waiting: str) -> None:
    assert list(Vigil([waiting], "another").bells()) == []


def test_of_several_queues_only_those_are_kept_at_which_nobody_waits(
    waiting: str, queue: str
) -> None:
    free = f"{queue}-free"
    bells = Vigil([waiting, free], "another").bells()
    assert next(bells) == free
    bell.ring(waiting)
    bell.ring(free)
    assert next(bells) == free


def test_nobody_waits_while_a_message_is_under_way(queue: str) -> None:
    bell.ring(queue)
    assert list(Vigil([f"{queue}-other", queue], "keeper").bells()) == []


def test_nor_while_one_of_several_messages_stands_in_the_broker(queue: str) -> None:
    for _ in range(2):
        bell.ring(queue)
        bell.silence(queue)
    assert list(Vigil([queue], "keeper").bells()) == []


def test_who_has_rung_for_others_is_called_to_no_other_queue(queue: str) -> None:
    full, other = f"{queue}-full", f"{queue}-other"
    keeper = Vigil([full, other], "keeper")
    assert next(keeper.bells()) == full
    Turn(keeper)._ring_for_others(full)
    bell.ring(other)
    assert (messages(full), messages(other)) == (1, 1)


def test_what_was_said_to_somebody_who_died_alone_becomes_a_message(waiting: str) -> None:
    bell.ring(waiting)
    vigil.end([waiting])
    assert messages(waiting) == 0, "he is waiting still, for all that is known"
    time.sleep(HELD_SECONDS + 0.1)
    vigil.end([waiting])
    vigil.end([waiting])
    assert messages(waiting) == 1


def test_who_is_waited_for_by_a_message_leaves_the_vigil(waiting: str) -> None:
    bells = Vigil([waiting], "keeper").bells()
    bell.ring(waiting)
    assert next(bells) == waiting
    bell.ring_for_others(waiting)
    assert list(bells) == []


def test_a_call_that_was_not_heard_becomes_a_message(queue: str) -> None:
    keeper = Vigil([queue], "keeper")
    assert next(keeper.bells()) == queue
    bell.ring(queue)
    keeper.release()
    assert messages(queue) == 1


def test_a_process_that_died_on_its_vigil_is_not_waited_for(waiting: str) -> None:
    bell.ring(waiting)
    vigil.end([waiting], "somebody else")
    assert messages(waiting) == 0
    vigil.end([waiting], "keeper")
    assert messages(waiting) == 1


def test_a_process_that_says_nothing_is_not_waited_for_long(waiting: str) -> None:
    bell.ring(waiting)
    time.sleep(HELD_SECONDS + 0.1)
    bell.ring(waiting)
    assert messages(waiting) == 1


def test_a_vigil_is_kept_for_longer_than_it_is_held_at_once(waiting: str) -> None:
    bells = Vigil([waiting], "keeper").bells()
    later = threading.Timer(HELD_SECONDS + WAIT_SECONDS, bell.ring, [waiting])
    later.start()
    assert next(bells) == waiting
    later.join()
    assert messages(waiting) == 0


def test_after_the_broker_was_emptied_everything_is_looked_for_again(queue: str) -> None:
    bells = Vigil([queue], "keeper").bells()
    assert next(bells) == queue
    with client() as redis:
        redis.delete(*bell.keys_of(queue))
    assert next(bells) == queue, "what was rung for meanwhile was not heard"
    bell.ring(queue)
    assert next(bells) == queue
    assert messages(queue) == 0


def test_a_worker_that_drains_waits_no_more(queue: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slots = Slots()
    monkeypatch.setattr(identity, "slots", lambda: slots)
    bells = Vigil([queue], "keeper").bells()
    assert next(bells) == queue
    slots.drain()
    assert list(bells) == []
    slots.remove()


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
    assert upkeep.ready([queue, "empty"], up_to=2) == {queue: 2}
    queues.pause(queue, by_id=None)
    assert upkeep.ready([queue], up_to=2) == {}
