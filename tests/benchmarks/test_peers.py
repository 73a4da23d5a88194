"""The peers of `make bench` in their short form: all tasks are done and right, nothing is timed.

`drain` itself compares the expected sum with the sum that the handlers counted, and with the
results if the peer keeps them.
"""

import json
import time
from collections.abc import Iterator

import httpx
import pytest

from benchmarks.peers import PEERS, node
from benchmarks.peers.ordinary import served
from benchmarks.peers.stage import Stage, stage

pytestmark = pytest.mark.servers
COUNT = 200


@pytest.fixture(scope="module")
def played_on() -> Iterator[Stage]:
    with stage() as servers:
        yield servers


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_finishes_every_task_with_the_right_result(played_on: Stage, name: str) -> None:
    assert PEERS[name].drain(played_on, COUNT) > 0


def test_results_are_read_back_from_every_peer_that_can_keep_them() -> None:
    assert {name for name, peer in PEERS.items() if not peer.keeps_result} == {
        "celery",
        "graphile-worker",
        "pgqueuer",
        "procrastinate",
    }


# The drains above cover its connections.
@pytest.mark.parametrize("name", ["ordinary", "celery-per-task", "bare"])
def test_a_form_of_the_ordinary_build_creates_and_completes(played_on: Stage, name: str) -> None:
    with served.served(played_on, name, users=2) as running:
        task = {"task_type": "sum", "input_data": {"numbers": [1, 2, 3]}}
        for token in running.tokens:
            answer = httpx.post(
                running.url + running.create_path,
                json=task,
                headers={"Authorization": f"Bearer {token}"},
            )
            assert answer.status_code == 201, answer.text
            assert answer.json() | task == answer.json()
        assert len(running.tokens) == 2
        if name in served.DRAINED:
            deadline = time.monotonic() + 30
            while running.completed() < 2:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            page = httpx.get(
                f"{running.url}/api/tasks/",
                headers={"Authorization": f"Bearer {running.tokens[0]}"},
            ).json()
            assert page["count"] == 1
            assert page["results"][0]["result"] == {"result": 6}


def test_the_lock_file_names_versions_and_no_registry() -> None:
    lock = json.loads((node.HERE / "package-lock.json").read_text())
    packages = [package for path, package in lock["packages"].items() if path]
    assert all(package["integrity"] and "resolved" not in package for package in packages)
    wanted = json.loads((node.HERE / "package.json").read_text())["dependencies"]
    assert wanted == {name: node.version(name) for name in wanted}
