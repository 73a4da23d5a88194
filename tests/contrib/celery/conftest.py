"""A live system without a worker of its own, for a host project with workers (``shop.py``)."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import USUAL, start_live
from tests.contrib.celery.shop_workers import Shop
from tests.live_system import Live


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A live system whose own worker has stopped."""
    with ExitStack() as stack:
        environment = {**USUAL, "TASKYARD_CANCEL_GRACE_SECONDS": "1"}
        live = start_live(stack, tmp_path_factory.mktemp("shop"), environment)
        live.stop_worker()
        yield live


@pytest.fixture
def shop(web: Live) -> Iterator[Shop]:
    with Shop(web) as shop:
        yield shop
