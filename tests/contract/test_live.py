"""Live updates: streams of events and `Prefer: wait`."""

import json
import random
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.api_client import IN_HOST, ROOT, SCHEME
from tests.contract.client import TERMINAL, User
from tests.live_system import Live

pytestmark = pytest.mark.servers
Figure = Callable[[str, str], None]
CHALLENGE = "Token" if IN_HOST else 'Bearer realm="api"'


@dataclass
class Event:
    id: str
    task: dict[str, Any]


class Reader:
    """Read a stream of events line by line, and keep the state that a browser keeps."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last_id = ""
        self.comments = 0
        self.retry = ""
        self._events = self._read()

    def __iter__(self) -> Iterator[Event]:
        return self._events  # one, so that a reader that stopped may go on

    def _read(self) -> Iterator[Event]:
        fields: dict[str, str] = {}
        for line in self.response.iter_lines():
            name, _, value = line.partition(":")
            if line.startswith(":"):
                self.comments += 1
            elif line:
                fields[name] = value.removeprefix(" ")
            else:
                self.last_id = fields.get("id", self.last_id)
                self.retry = fields.get("retry", self.retry)
                if "data" in fields:
                    assert fields["event"] == "task"
                    yield Event(self.last_id, json.loads(fields["data"]))
                fields = {}


@contextmanager
def stream(user: User, path: str = "/tasks/events/", **headers: str) -> Iterator[Reader]:
    with user.http.stream("GET", path, headers=headers, timeout=40) as response:
        assert response.status_code == 200, response.read()
        yield Reader(response)


def until(
    reader: Reader, enough: Callable[[list[Event]], bool], *, seconds: float = 20
) -> list[Event]:
    deadline = time.monotonic() + seconds
    events = []
    for event in reader:
        events.append(event)
        assert time.monotonic() < deadline, events
        if enough(events):
            break
    return events


def states(events: list[Event]) -> list[str]:
    """The statuses in their order, without repetitions (progress)."""
    found = [event.task["status"] for event in events]
    return [each for each, before in zip(found, [None, *found], strict=False) if each != before]


def assert_nothing_twice(events: list[Event]) -> None:
    last: dict[int, Any] = {}
    for event in events:
        assert last.get(event.task["id"]) != event.task, f"twice in a row: {event}"
        last[event.task["id"]] = event.task


def test_a_countdown_is_seen_from_pending_to_completed_and_the_stream_ends(live: Live) -> None:
    user = User.register(live)
    task_id = user.submit("countdown", {"seconds": 2}, delay=1)
    with stream(user, f"/tasks/{task_id}/events/") as reader:
        headers = reader.response.headers
        events = list(reader)
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Accel-Buffering"] == "no"
    assert reader.retry == "2000"
    assert states(events) == ["pending", "in_progress", "completed"]
    assert {0, 1, 2} >= {event.task["progress"]["current"] for event in events[2:-1]}
    assert events[-1].task == user.task(task_id)
    assert_nothing_twice(events)
    with stream(user, f"/tasks/{task_id}/events") as again:
        assert [event.task for event in again] == [events[-1].task]
    # A browser reconnects with the last id, and 204 tells it to stop.
    done = user.http.get(f"/tasks/{task_id}/events/", headers={"Last-Event-ID": reader.last_id})
    assert (done.status_code, done.content) == (204, b"")


def test_all_streams_begin_with_the_active_tasks_and_speak_the_clients_language(live: Live) -> None:
    user = User.register(live)
    user.wait(user.sum(1))
    active = [user.submit("countdown", {"seconds": 60}, delay=60) for _ in range(2)]
    with stream(user, **{"Accept-Language": "en"}) as reader:
        events = until(reader, lambda events: len(events) == 2)
        assert [event.task["id"] for event in events] == active
        assert {event.task["status_label"] for event in events} == {"Scheduled"}
        new = user.sum(1, 2)
        events = until(reader, lambda events: events[-1].task["status"] in TERMINAL)
    assert {event.task["id"] for event in events} == {new}
    assert events[-1].task["result"] == {"result": 3}


def test_who_may_not_see_gets_the_same_answer_as_everywhere(live: Live) -> None:
    one, two = User.register(live), User.register(live)
    task_id = one.sum(1)
    for other in (f"/tasks/{task_id}", "/tasks/999999999"):
        refused = two.http.get(f"{other}/events/")
        assert refused.status_code == 404
        assert refused.content == two.http.get(f"{other}/").content
    two.http.headers["Authorization"] = f"{SCHEME} nonsense"
    for path in ("/tasks/events/", f"/tasks/{task_id}/events/"):
        refused = two.http.get(path)
        assert refused.status_code == 401
        assert refused.content == two.http.get("/limits/").content
        assert refused.headers["WWW-Authenticate"] == CHALLENGE
    assert one.http.post("/tasks/events/").status_code == 405


def test_owners_hear_only_of_their_own(live: Live) -> None:
    users = [User.register(live) for _ in range(2)]
    heard: list[list[Event]] = [[], []]

    def listen(number: int, ready: threading.Event) -> None:
        with stream(users[number]) as reader:
            ready.set()
            heard[number] = until(
                reader, lambda events: sum(e.task["status"] == "completed" for e in events) == 5
            )

    listening = [threading.Event() for _ in users]
    with ThreadPoolExecutor(2) as pool:
        followers = [pool.submit(listen, n, listening[n]) for n in range(2)]
        assert all(ready.wait(10) for ready in listening)
        ids = [{user.sum(n) for n in range(5)} for user in users]
        for follower in followers:
            follower.result(timeout=30)
    assert [{event.task["id"] for event in events} for events in heard] == ids


@pytest.mark.parametrize(
    "text", ["nonsense", "9:9:", "0", "5:3:", "1:2:3:4", "99999999999", "/1/2"]
)
def test_an_event_id_that_is_none_of_ours_counts_as_none(live: Live, text: str) -> None:
    user = User.register(live)
    user.wait(user.sum(1))
    active = user.submit("countdown", {"seconds": 60}, delay=60)
    with stream(user, **{"Last-Event-ID": text}) as reader:
        events = until(reader, lambda events: events[-1].task["id"] == active)
    assert events[-1].task["status"] == "pending"


def test_a_stream_cut_and_resumed_50_times_misses_nothing_and_says_nothing_twice(
    new_live: Callable[..., Live], figure: Figure
) -> None:
    live = new_live(TASKYARD_ACTIVE_LIMIT="1000")
    user = User.register(live)
    submitter = User(live.url, user.name, user.http.headers["Authorization"].split()[1], "")
    ids: list[int] = []

    def submit() -> None:
        for number in range(480):
            ids.append(submitter.sum(number))
            time.sleep(random.uniform(0, 0.02))
            if number % 24 == 0:
                ids.append(submitter.submit("countdown", {"seconds": 2}))

    events: list[Event] = []
    last_id, cuts = "", 0
    ended: dict[int, str] = {}
    with ThreadPoolExecutor(1) as pool:
        submitting = pool.submit(submit)
        deadline = time.monotonic() + 90
        while cuts < 50 or not submitting.done() or len(ended) < 500:
            assert time.monotonic() < deadline, f"{len(ended)} of {len(ids)} ended, {cuts} cuts"
            cut_after = random.randint(1, 15)
            with stream(user, **({"Last-Event-ID": last_id} if last_id else {})) as reader:
                try:
                    for event in reader:
                        events.append(event)
                        if event.task["status"] in TERMINAL:
                            ended[event.task["id"]] = event.task["status"]
                        cut_after -= 1
                        if cut_after <= 0 or len(ended) == 500:
                            break
                except httpx.ReadTimeout:
                    raise AssertionError(f"{len(ended)} of 500 ended") from None
                last_id = reader.last_id
            cuts += 1
        submitting.result()
    assert set(ended) == set(ids)
    assert set(ended.values()) == {"completed"}
    assert_nothing_twice(events)
    seen: dict[int, int] = defaultdict(int)
    for event in events:
        seen[event.task["id"]] += event.task["status"] in TERMINAL
    assert set(seen.values()) == {1}
    figure("stream cut and resumed", f"{cuts} times, {len(events)} events, 500 of 500 ends seen")


def test_waiting_for_a_sum_has_the_result_in_the_201(live: Live, figure: Figure) -> None:
    user = User.register(live)
    taken = []
    body = {"task_type": "sum", "input_data": {"numbers": [1, 2, 3]}}
    for _ in range(100):
        started = time.perf_counter()
        answer = user.http.post("/tasks/create/", json=body, headers={"Prefer": "wait=10"})
        taken.append((time.perf_counter() - started) * 1000)
        assert answer.status_code == 201
        assert answer.json()["result"] == {"result": 6}
    assert answer.headers["Preference-Applied"] == "wait=10"
    assert answer.headers["Location"].endswith(f"{ROOT}tasks/{answer.json()['id']}/")
    assert answer.json() == user.task(answer.json()["id"])
    taken.sort()
    figure("Prefer: wait on a sum", f"p50 {taken[50]:.1f} ms, p95 {taken[95]:.1f} ms")
    assert taken[50] < 100


def test_waiting_for_a_number_beyond_all_floats_has_it_exactly(live: Live) -> None:
    user = User.register(live)
    answer = user.http.post(
        "/tasks/create/",
        json={"task_type": "power", "input_data": {"base": 10, "exponent": 400}},
        headers={"Prefer": "wait=10"},
    )
    assert answer.status_code == 201
    assert answer.json()["result"] == 10**400


def test_waiting_ends_after_the_seconds_asked_for(live: Live) -> None:
    user = User.register(live)
    body = {"task_type": "countdown", "input_data": {"seconds": 30}}
    started = time.monotonic()
    answer = user.http.post("/tasks", json=body, headers={"Prefer": "respond-async, wait=1"})
    assert 1 <= time.monotonic() - started < 2
    assert (answer.status_code, answer.json()["status"]) == (201, "in_progress")
    assert answer.headers["Preference-Applied"] == "wait=1"
    path = f"/tasks/{answer.json()['id']}/"
    waited = user.http.get(path, headers={"Prefer": "wait=1"})
    assert waited.json()["status"] == "in_progress"
    assert user.http.post(f"{path}cancel/").status_code == 200


def test_the_detail_waits_for_the_end_and_names_its_state(live: Live) -> None:
    user = User.register(live)
    task_id = user.submit("countdown", {"seconds": 1})
    path = f"/tasks/{task_id}/"
    early = user.http.get(path)
    started = time.monotonic()
    answer = user.http.get(
        path, headers={"Prefer": "wait=20", "If-None-Match": early.headers["ETag"]}
    )
    assert time.monotonic() - started < 5
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert answer.headers["Preference-Applied"] == "wait=20"
    same = {"Prefer": "wait=20", "If-None-Match": answer.headers["ETag"]}
    assert user.http.get(path, headers=same).status_code == 304


@pytest.mark.parametrize("prefer", ["wait=soon", "wait=-1", "wait=1e3", "await=5", ""])
def test_a_preference_that_cannot_be_read_is_none(live: Live, prefer: str) -> None:
    user = User.register(live)
    body = {"task_type": "countdown", "input_data": {"seconds": 30}}
    started = time.monotonic()
    answer = user.http.post("/tasks/create/", json=body, headers={"Prefer": prefer})
    assert time.monotonic() - started < 1
    assert answer.status_code == 201
    assert "Preference-Applied" not in answer.headers


def test_a_fraction_is_cut_and_a_bare_preference_is_the_greatest(live: Live) -> None:
    user = User.register(live)
    body = {"task_type": "countdown", "input_data": {"seconds": 3}}
    answer = user.http.post("/tasks/create/", json=body, headers={"Prefer": "wait=1.5"})
    assert answer.headers["Preference-Applied"] == "wait=1"
    assert answer.json()["status"] in ("pending", "in_progress")
    answer = user.http.post("/tasks/create/", json=body, headers={"Prefer": "wait"})
    assert answer.headers["Preference-Applied"] == "wait=60"
    assert answer.json()["status"] == "completed"


def test_what_is_refused_is_refused_at_once_though_it_prefers_to_wait(live: Live) -> None:
    user = User.register(live)
    prefers = {"Prefer": "wait=10"}
    wrong = user.http.post("/tasks/create/", json={"task_type": "none"}, headers=prefers)
    assert wrong.status_code == 400
    assert "Preference-Applied" not in wrong.headers
    assert user.http.get("/tasks/999999999/", headers=prefers).status_code == 404
    large = b'{"task_type": "' + b"x" * 300_000 + b'"}'
    json_type = {"Content-Type": "application/json"}
    assert user.http.post("/tasks/", content=large, headers=prefers | json_type).status_code == 413


def test_a_repeated_submit_waits_for_the_same_task(live: Live) -> None:
    user = User.register(live)
    body = {"task_type": "countdown", "input_data": {"seconds": 1}}
    headers = {"Idempotency-Key": "once", "Prefer": "wait=0"}
    first = user.http.post("/tasks/create/", json=body, headers=headers)
    again = user.http.post("/tasks/create/", json=body, headers={**headers, "Prefer": "wait=20"})
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    assert again.json()["status"] == "completed"


def test_51_streams_of_one_user_are_one_too_many(live: Live) -> None:
    user = User.register(live)
    with httpx.Client(
        base_url=user.http.base_url,
        headers=user.http.headers,
        timeout=30,
        limits=httpx.Limits(max_connections=None),
    ) as browser:
        opened = []
        for _ in range(50):
            request = browser.build_request("GET", "/tasks/events/")
            opened.append(browser.send(request, stream=True))
        assert {response.status_code for response in opened} == {200}
        refused = browser.get("/tasks/events/")
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "5"
        assert refused.json()["code"] == "throttled"
        opened.pop().close()
        deadline = time.monotonic() + 5
        while True:
            request = browser.build_request("GET", "/tasks/events/")
            opened.append(browser.send(request, stream=True))
            if opened[-1].status_code == 200:
                break
            assert time.monotonic() < deadline
        for response in opened:
            response.close()


def test_without_the_broker_streams_and_waits_go_on(
    new_live: Callable[..., Live], figure: Figure
) -> None:
    live = new_live()
    user = User.register(live)
    slow = user.submit("countdown", {"seconds": 8})
    with stream(user) as reader:
        until(reader, lambda events: True)
        live.stop_broker()
        started = time.monotonic()
        body = {"task_type": "sum", "input_data": {"numbers": [1]}}
        waited = user.http.post("/tasks/create/", json=body, headers={"Prefer": "wait=3"})
        assert waited.status_code == 201
        figure("broker stopped: a submit that waits", f"{time.monotonic() - started:.1f} s")
        events = until(reader, lambda events: events[-1].task["id"] == waited.json()["id"])
        cancelled_at = time.monotonic()
        user.http.post(f"/tasks/{slow}/cancel/")
        events += until(reader, lambda events: events[-1].task["status"] == "cancelled")
        late = time.monotonic() - cancelled_at
        figure("broker stopped: a cancel is seen after", f"{late:.1f} s")
        assert late < 4
        live.start_broker()

        def ended(events: list[Event]) -> bool:
            return any(
                event.task["id"] == waited.json()["id"] and event.task["status"] == "completed"
                for event in events
            )

        # A process that was running when the broker stopped may have found the sum itself.
        if not ended(events):
            until(reader, ended, seconds=30)


def test_a_deploy_ends_open_streams_and_waits_quickly(
    new_live: Callable[..., Live], figure: Figure
) -> None:
    live = new_live()
    user = User.register(live)
    task_id = user.submit("countdown", {"seconds": 60})
    with stream(user) as reader, ThreadPoolExecutor(1) as pool:
        until(reader, lambda events: True)
        other = User(live.url, user.name, user.http.headers["Authorization"].split()[1], "")
        waiting = pool.submit(other.http.get, f"/tasks/{task_id}/", headers={"Prefer": "wait=50"})
        time.sleep(0.5)
        assert live._web is not None
        started = time.monotonic()
        live._web.send_signal(signal.SIGTERM)
        rest = list(reader)
        figure("SIGTERM: open streams end after", f"{(time.monotonic() - started) * 1000:.0f} ms")
        assert time.monotonic() - started < 2
        assert waiting.result().status_code == 200
        assert waiting.result().json()["status"] not in TERMINAL
        assert_nothing_twice(rest)
        live._web.wait(timeout=5)
    live.start_web()
    live.wait_until_ready()
    with stream(user, **{"Last-Event-ID": reader.last_id}) as again:
        user.http.post(f"/tasks/{task_id}/cancel/")
        events = until(again, lambda events: events[-1].task["status"] == "cancelled")
    assert events[-1].task["id"] == task_id
