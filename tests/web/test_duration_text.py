"""Durations as text."""

import pytest
from django.utils import translation

from taskyard.web.duration_text import format_duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 ms"), (0.0154, "15 ms"), (3.24, "3.2 s"), (2.96, "3.0 s"), (59.7, "59 s"),
        (185, "3 min 5 s"), (3600, "1 h"), (3720, "1 h 2 min"), (90_000, "1 d 1 h"),
    ],
)  # fmt: skip
def test_a_duration_has_two_units_at_most(seconds: float, text: str) -> None:
    with translation.override("en"):
        assert format_duration(seconds) == text


def test_a_duration_with_one_part_has_no_fraction() -> None:
    with translation.override("en"):
        assert [format_duration(each, parts=1) for each in (0.5, 59, 185)] == [
            "0 s",
            "59 s",
            "3 min",
        ]


def test_a_duration_is_localized() -> None:
    with translation.override("ru"):
        assert format_duration(3.24) == "3,2 с"
