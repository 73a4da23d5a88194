"""The Prefer header is read as in RFC 7240, or ignored."""

import pytest

from taskyard.api.prefer_wait import seconds_of


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=10", 10),
        ("WAIT = 10", 10),
        ('wait="10"', 10),
        ("wait=0", 0),
        ("wait=61", 60),
        ("wait=999999999", 60),
        ("respond-async, wait=5", 5),
        ("wait=5; because=yes", 5),
        ('note="a, wait=9", wait=5', 5),
        ("wait=5, wait=7", 5),
        ("wait", 60),
        ("respond-async, Wait ; because=yes", 60),
        ("wait=", 60),
        ('wait=""', 60),
        ("wait=3.5", 3),
        ('wait="59.9"', 59),
        ("wait=0.9", 0),
        ("wait=" + "9" * 500, 60),
        ("wait=.5", None),
        ("wait=1.5.5", None),
        ("wait=1e1", None),
        ('wait="', None),
        ("wait=soon", None),
        ("wait=-1", None),
        ("wait=٣", None),
        ('wait="5', None),
        ("wait=soon, wait=5", None),
        ("waiting=5", None),
        ('note="wait=5"', None),
        ("", None),
    ],
)
def test_the_first_wait_counts(prefer: str, seconds: int | None) -> None:
    assert seconds_of(prefer) == seconds
