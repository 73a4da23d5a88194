"""Cleanups that apps above core register in ``AppConfig.ready``; a worker runs them each minute."""

from collections.abc import Callable

_cleanups: list[Callable[[], None]] = []


def register(cleanup: Callable[[], None]) -> None:
    """Run ``cleanup`` each minute, in one worker at a time. It may raise DatabaseError only."""
    _cleanups.append(cleanup)


def run() -> None:
    """Run each registered cleanup."""
    for cleanup in _cleanups:
        cleanup()
