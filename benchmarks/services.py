"""Servers for a question: its own, or in the short form those that all questions share."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks.peers.stage import Stage, stage

_shared: Stage | None = None
# What was started on the shared ground and stays: nothing is timed there.
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
    """Within it there is only one: nothing is timed, and starting servers takes time."""
    global _shared, _kept
    with stage() as _shared, ExitStack() as stack:
        _kept = {"stack": stack}
        try:
            yield
        finally:
            stack.close()
            _shared, _kept = None, None


def kept() -> dict[str, Any] | None:
    """Where a system that all questions share is kept; None where each has its own."""
    return _kept
