"""Which types are run without a claim: those that this process has seen to be quick."""

from taskyard.worker.fast_path import FastTypes
from tests import file_types, task_types  # noqa: F401  # registers them


def quick(fast_types: FastTypes) -> set[str]:
    return {name for name, most in (fast_types.batch_sizes() or {}).items() if most}


def test_a_process_begins_with_care() -> None:
    assert FastTypes().batch_sizes() is None


def test_a_type_shows_that_it_is_quick_and_may_lose_that_again() -> None:
    fast_types = FastTypes()
    fast_types.record("sum", 0.0001)
    assert quick(fast_types) == {"sum"}
    fast_types.record("sum", 0.5)
    assert fast_types.batch_sizes() is None
    fast_types.record("sum", 0.0001)
    fast_types.evict(["sum"])
    assert fast_types.batch_sizes() is None


def test_what_reads_files_or_reports_or_sleeps_or_comes_alone_is_always_claimed() -> None:
    fast_types = FastTypes()
    fast_types.record("countdown", 0.0001)  # asks its run
    fast_types.record("files-describe", 0.0001)
    fast_types.record("returns-nothing", 0.0001)  # not in batches
    assert fast_types.batch_sizes() is None
