"""A command loses and doubles no task if the web is killed and restarted meanwhile."""

import json
import time
from collections.abc import Callable

import pytest

from tests.client.conftest import Prompt
from tests.live_system import Live

pytestmark = pytest.mark.servers
LINES = 6000


def test_submit_and_wait_over_a_killed_web(
    new_live: Callable[..., Live], new_prompt: Callable[[Live], Prompt]
) -> None:
    live = new_live()
    prompt = new_prompt(live)
    waiting = [
        prompt.start("submit", "countdown", "seconds:=6", how) for how in ("--wait", "--watch")
    ]
    deadline = time.monotonic() + 20
    while len(prompt.type("list", "--json").out.splitlines()) < 2:
        assert time.monotonic() < deadline
    live.kill_web()
    time.sleep(1)
    live.start_web()
    for process in waiting:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert json.loads(out) == {"message": "Обратный отсчёт завершён"}
    assert len(prompt.type("list", "--json").out.splitlines()) == 2


def test_a_submit_that_begins_while_the_web_is_away(
    new_live: Callable[..., Live], new_prompt: Callable[[Live], Prompt]
) -> None:
    live = new_live()
    prompt = new_prompt(live)
    live.kill_web()
    process = prompt.start("submit", "sum", "numbers:=[1,2]", "--wait")
    time.sleep(2)
    live.start_web()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, '{"result": 3}\n', "")
    assert len(prompt.type("list", "--json").out.splitlines()) == 1


def test_bulk_over_a_killed_web_and_a_killed_bulk(
    new_live: Callable[..., Live], new_prompt: Callable[[Live], Prompt]
) -> None:
    live = new_live(TASKYARD_ACTIVE_LIMIT="100000")
    live.stop_worker()  # accepted tasks are counted, not run
    prompt = new_prompt(live)
    file = prompt.home / "lines.jsonl"
    file.write_text("".join(f'{{"numbers": [{number}]}}\n' for number in range(LINES)))
    words = ("bulk", "lines.jsonl", "--type", "sum", "--json")

    first = prompt.start(*words)
    assert first.stdout is not None
    first.stdout.readline()
    first.kill()  # a power cut of the client
    first.communicate()

    second = prompt.start(*words)
    assert second.stdout is not None
    begun = [second.stdout.readline()]
    live.kill_web()
    time.sleep(1)
    live.start_web()
    # Not communicate(), because readline() has already read more from the pipe.
    accepted = [json.loads(line) for line in (*begun, *second.stdout)]
    _, err = second.communicate(timeout=60)
    assert (second.returncode, err) == (0, "")
    assert [each["line"] for each in accepted] == [*range(1, LINES + 1)]
    assert accepted[0]["replayed"]

    ran = prompt.type("list", "--limit", "0", "--ordering", "id", "--json")
    tasks = [json.loads(line) for line in ran.out.splitlines()]
    assert [task["input_data"]["numbers"] for task in tasks] == [[n] for n in range(LINES)]
    assert [task["id"] for task in tasks] == [each["id"] for each in accepted]
