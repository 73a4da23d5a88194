"""What is removed from the records of a handler with secrets, and when."""

import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from taskyard.catalog.secrets import DOTS
from taskyard.core.history import LINE_LENGTH
from taskyard.worker import scrubbing, task_log

SECRET = "Correct-Horse-42"


@pytest.fixture(autouse=True)
def running() -> Iterator[None]:
    scrubbing.begin([SECRET])
    yield
    scrubbing.end()


@pytest.fixture
def printed(caplog: pytest.LogCaptureFixture) -> task_log.Printed:
    caplog.set_level(logging.INFO, "taskyard.stdout")
    return task_log.Printed(io.StringIO(), "stdout", logging.INFO)


def test_a_line_is_cut_after_its_secrets_are_removed(
    printed: task_log.Printed, caplog: pytest.LogCaptureFixture
) -> None:
    printed.write("x" * (LINE_LENGTH - 8) + SECRET + "\n")
    (record,) = caplog.records
    assert "Correct" not in record.getMessage()
    assert len(record.getMessage()) <= LINE_LENGTH


def test_a_line_without_an_end_too(
    printed: task_log.Printed, caplog: pytest.LogCaptureFixture
) -> None:
    printed.write(SECRET + "x" * (LINE_LENGTH - 8))
    printed.end_line()
    (record,) = caplog.records
    assert "Horse" not in record.getMessage()
    assert "e-42" not in record.getMessage()


class Speaking:
    def __str__(self) -> str:
        return SECRET


class Broken:
    def __str__(self) -> str:
        raise RuntimeError(SECRET)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"account": {"password": SECRET}}, f"{{'account': {{'password': '{DOTS}'}}}}"),
        ([SECRET], f"['{DOTS}']"),
        (ValueError(SECRET), DOTS),
        (Speaking(), DOTS),
        (Broken(), "<Broken>"),
        (SECRET.encode(), f"b'{DOTS}'"),
        (5, 5),
        (1.5, 1.5),
        (True, True),
        (None, None),
    ],
)
def test_extras_have_no_secret(extra: Any, expected: Any) -> None:
    record = logging.makeLogRecord({"msg": "signed in", "given": extra})
    scrubbing.scrub_record(record)
    assert vars(record)["given"] == expected
    assert isinstance(record.created, float)
    assert record.getMessage() == "signed in"
