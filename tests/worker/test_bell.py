"""The bell: who is woken by it, and who holds it, on a real broker."""

import secrets

from taskyard.worker.bell import Bell


def test_a_holder_goes_on_holding_and_nobody_else_can() -> None:
    queue = f"queue-{secrets.token_hex(4)}"
    holder, other = Bell(queue), Bell(queue)
    assert holder.hold()
    assert holder.hold()
    assert not other.hold()
    holder.silence()
    assert other.hold()
    other.silence()


def test_one_that_was_silenced_can_be_held_again() -> None:
    bell = Bell(f"queue-{secrets.token_hex(4)}")
    for _ in range(2):
        bell.silence()
        assert bell.hold()
    bell.silence()
