"""How long a process of the pool lives, and how Celery's pool learns that it has to be replaced."""

import subprocess
import sys

from taskyard.worker.lifespan import Lifespan, Replacement, fair_share_kib


def test_it_is_over_after_so_many_tasks() -> None:
    lifespan = Lifespan(tasks=3)
    lifespan.note(2)
    assert not lifespan.is_over
    assert lifespan.fit({"sum": 500, "countdown": 0}) == {"sum": 1, "countdown": 0}
    lifespan.note(1)
    assert lifespan.is_over


# In a process of its own: what was freed here before may be taken again without growth.
GROWS = """
from taskyard.worker.lifespan import Lifespan, memory_kib
grown = Lifespan(memory_kib=memory_kib() + 64 * 1024)
grown.note(1)
assert not grown.is_over
garbage = bytearray(b"x" * 128 * 1024 * 1024)
grown.note(1)
assert grown.is_over
"""


def test_it_is_over_beyond_so_much_memory() -> None:
    ran = subprocess.run([sys.executable, "-c", GROWS], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_without_limits_it_has_no_end() -> None:
    lifespan = Lifespan()
    lifespan.note(10**9)
    assert not lifespan.is_over
    assert lifespan.fit({"sum": 500}) == {"sum": 500}


def test_a_task_may_end_it() -> None:
    lifespan = Lifespan()
    lifespan.end()
    assert lifespan.is_over


def test_celery_goes_on_until_it_is_over() -> None:
    most = Replacement(1)
    most.lifespan = Lifespan(tasks=1)
    # As billiard's loop asks (its number stands first, ours answers), and after it for the reason.
    assert most
    assert most > 7
    assert most != 7
    most.lifespan.note(1)
    assert not most > 7
    assert most == 7


def test_the_processes_share_the_memory() -> None:
    assert 0 < fair_share_kib(4) < fair_share_kib(2) < fair_share_kib(1)
