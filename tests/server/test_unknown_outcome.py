"""A create without a response to its COMMIT: a repetition with its key creates it once."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from tests import servers
from tests.conftest import TEST_DB, USUAL, migrated_database
from tests.contract.client import User
from tests.faults.proxy import Mode, Proxy
from tests.live_system import Live

pytestmark = pytest.mark.servers

# The delay of data in both directions: enough to see the commit and cut its response off.
DELAY_SECONDS = 0.5
TASK = {"task_type": "sum", "input_data": {"numbers": [1, 2]}}
KEYED = {"Idempotency-Key": "once"}

if TEST_DB == "postgresql":

    @pytest.fixture
    def address() -> Iterator[str]:
        with servers.database(os.environ["TEST_DATABASE_URL"], migrated_database()) as address:
            yield address

    def test_a_create_whose_answer_was_lost_is_found_again(tmp_path: Path, address: str) -> None:
        with ExitStack() as stack:
            link = stack.enter_context(Proxy(address, delay_seconds=DELAY_SECONDS))
            live = Live(tmp_path / "live", {**USUAL, "DATABASE_URL": link.url}, migrated=True)
            stack.callback(live.close)
            live.start_broker()
            live.start_web()
            live.wait_until_ready()
            user = User.register(live)
            link.become(Mode.DELAY)
            with ThreadPoolExecutor(1) as pool:
                asked = pool.submit(
                    user.http.post, "/tasks/create/", json=TASK, headers=KEYED, timeout=60
                )
                _wait_for_a_task(address)
                link.become(Mode.REFUSE)
                lost = asked.result()
            assert lost.status_code == 503, lost.text
            assert lost.headers["Retry-After"]
            link.become(Mode.PASS)
            again = user.http.post("/tasks/create/", json=TASK, headers=KEYED)
            assert again.status_code == 201, again.text
            assert again.headers["Idempotency-Replayed"] == "true"
            assert user.http.get("/tasks/").json()["count"] == 1
            assert user.http.get("/limits/").json()["active"] == 1

    def _wait_for_a_task(address: str) -> None:
        until = time.monotonic() + 40
        with psycopg.connect(address, autocommit=True) as server:
            while server.execute("SELECT count(*) FROM taskyard_task").fetchone() == (0,):
                assert time.monotonic() < until
                time.sleep(0.01)
