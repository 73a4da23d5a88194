"""Which types are run without a claim: those that this process has seen to be quick."""

from taskyard.worker.pace import Pace
from tests import task_types  # noqa: F401  # registers them


def quick(pace: Pace) -> set[str]:
    return {name for name, most in (pace.caps() or {}).items() if most}


def test_a_process_begins_with_care() -> None:
    assert Pace().caps() is None


def test_a_type_shows_that_it_is_quick_and_may_lose_that_again() -> None:
    pace = Pace()
    pace.note("sum", 0.0001)
    assert quick(pace) == {"sum"}
    pace.note("sum", 0.5)
    assert pace.caps() is None
    pace.note("sum", 0.0001)
    pace.distrust(["sum"])
    assert pace.caps() is None


def test_what_reports_or_sleeps_or_comes_alone_is_always_claimed() -> None:
    pace = Pace()
    pace.note("countdown", 0.0001)  # asks its run
    pace.note("returns-nothing", 0.0001)  # not in batches
    assert pace.caps() is None
