"""Changes keys of ``TASKYARD`` for one test."""

from typing import Any


def configure(settings: Any, **keys: Any) -> None:
    """The fixture ``settings`` restores the keys at the end of the test."""
    settings.TASKYARD = {**settings.TASKYARD, **keys}
