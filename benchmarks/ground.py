"""Servers for a question: its own, or in the short form those that all questions share."""

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.peers.stage import Stage, stage

_shared: Stage | None = None


@contextmanager
def ground() -> Iterator[Stage]:
    """A PostgreSQL and a Redis for one question."""
    if _shared is not None:
        yield _shared
        return
    with stage() as own:
        yield own


@contextmanager
def shared() -> Iterator[None]:
    """Within it there is only one: nothing is timed, and starting servers takes time."""
    global _shared
    with stage() as _shared:
        try:
            yield
        finally:
            _shared = None
