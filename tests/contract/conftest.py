"""After each test, its users close their connections."""

from collections.abc import Iterator

import pytest

from tests.contract.client import User


@pytest.fixture(autouse=True)
def _close_connections() -> Iterator[None]:
    yield
    while User.opened:
        User.opened.pop().http.close()
