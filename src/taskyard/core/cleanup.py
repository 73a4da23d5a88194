"""Cleanups that apps above core register in ``AppConfig.ready``; a worker runs them each minute."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

Lock = AbstractContextManager[Any]
_cleanups: list[Callable[[], None]] = []
_slow: list[Callable[[Lock], bool]] = []


def register(cleanup: Callable[[], None]) -> None:
    """Run ``cleanup`` each minute, in one worker at a time. It may raise DatabaseError only."""
    _cleanups.append(cleanup)


def register_slow(cleanup: Callable[[Lock], bool]) -> None:
    """Run ``cleanup`` like others, but let it wait for something else than the database.

    It holds the lock that it is given only while it uses the database, for 0.1 s at a time; it
    works for about a second, and says whether something is left for the next call.
    """
    _slow.append(cleanup)


def run() -> None:
    """Run each registered cleanup."""
    for cleanup in _cleanups:
        cleanup()


def run_slow(database: Lock) -> bool:
    """Run each slow cleanup; whether one has left something."""
    left = [cleanup(database) for cleanup in _slow]
    return any(left)
