"""Servers for a question: its own ones, or in the short form those that all questions share."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks.peers.stage import Stage, stage

_shared: Stage | None = None
# The systems on the shared servers, which stay up: the short form times nothing.
_kept: dict[str, Any] | None = None


@contextmanager
def services() -> Iterator[Stage]:
    """A PostgreSQL and a Redis for one question."""
    if _shared is not None:
        yield _shared
        return
    with stage() as own:
        yield own


@contextmanager
def shared() -> Iterator[None]:
    """Share one set of servers within the block: nothing is timed, and a start takes time."""
    global _shared, _kept
    with stage() as _shared, ExitStack() as stack:
        _kept = {"stack": stack}
        try:
            yield
        finally:
            stack.close()
            _shared, _kept = None, None


def kept() -> dict[str, Any] | None:
    """The dictionary of the systems that all questions share; None if each has its own."""
    return _kept
