"""The client library against a live system, also over a faulty network."""

import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from taskyard.client import (
    ActiveLimitExceeded,
    AsyncClient,
    AuthenticationError,
    Client,
    Conflict,
    ConnectionFailed,
    IdempotencyKeyReused,
    InvalidRequest,
    MemoryTokens,
    NewTask,
    NotFound,
    RateLimited,
    Tokens,
    Unavailable,
    WaitTimeout,
)
from tests.client.conftest import NewClient
from tests.client.faulty_proxy import BUSY, LOSE, OFTEN, FaultyProxy
from tests.contract.client import PASSWORD
from tests.live_system import Live
from tests.servers import free_port

pytestmark = pytest.mark.servers


@pytest.fixture
def proxy(live: Live) -> Iterator[FaultyProxy]:
    with FaultyProxy(live.url) as faulty_proxy:
        yield faulty_proxy


def test_the_whole_life_of_a_task(client: Client) -> None:
    assert {"sum", "countdown"} <= {each.name for each in client.types()}
    at = datetime.now(UTC)
    task = client.submit("sum", {"numbers": [0.1, 0.2, 0.3]}, priority="high", tags=["a", "б"])
    assert (task.status, task.status_label, task.priority) == ("pending", "Scheduled", "high")
    assert task.tags == ("a", "б")
    assert abs(task.created_at - at) < timedelta(seconds=20)
    done = client.wait(task.id, timeout=30)
    assert (done.succeeded, done.result, done.attempt) == (True, {"result": 0.6}, 1)
    assert client.get(task.id) == done
    (attempt,) = client.attempts(task.id)
    assert (attempt.number, attempt.outcome) == (1, "completed")
    assert client.limits().active == 0
    assert client.me().username.startswith("user-")


def test_the_asynchronous_client_does_the_same(live: Live, new_client: NewClient) -> None:
    async def run() -> None:
        async with AsyncClient(live.url, language="en") as client:
            name = f"user-{secrets.token_hex(6)}"
            await client.register(name, PASSWORD)
            await client.login(name, PASSWORD)
            ids = await client.submit_many([NewTask("sum", {"numbers": [n]}) for n in range(3)])
            done = await asyncio.gather(*(client.wait(each) for each in ids))
            assert [task.result for task in done] == [{"result": n} for n in range(3)]
            assert [task.id async for task in client.list()] == ids
            counted = await client.submit("countdown", {"seconds": 1})
            events = [event async for event in client.stream(counted.id)]
            assert events[-1].task.result == {"message": "Обратный отсчёт завершён"}
            with pytest.raises(NotFound):
                await client.get(ids[-1] + 10**9)
            await client.logout()
            with pytest.raises(AuthenticationError):
                await client.me()

    asyncio.run(run())


def test_errors_are_typed_and_name_the_place(client: Client) -> None:
    with pytest.raises(InvalidRequest) as wrong:
        client.submit("sum", {"numbers": [1, "2"], "more": 1})
    found = {each.pointer: each.code for each in wrong.value.errors}
    assert found == {
        "/input_data/numbers/1": "float_type",
        "/input_data/more": "extra_forbidden",
    }
    assert "/input_data/numbers/1: A number is expected." in str(wrong.value)
    with pytest.raises(ValueError, match="JSON compliant"):
        client.submit("sum", {"numbers": [float("nan")]})
    with pytest.raises(InvalidRequest):
        client.submit("sum", {"numbers": "\ud800"})
    task = client.submit("sum", {"numbers": [1]}, idempotency_key="one")
    assert client.submit("sum", {"numbers": [1]}, idempotency_key="one").id == task.id
    with pytest.raises(IdempotencyKeyReused):
        client.submit("sum", {"numbers": [2]}, idempotency_key="one")
    client.wait(task.id)
    with pytest.raises(Conflict) as ended:
        client.cancel(task.id)
    assert ended.value.code == "already_finished"
    with pytest.raises(Conflict):
        client.retry(task.id)
    with pytest.raises(NotFound):
        client.get(10**15)


def test_cancel_and_retry(client: Client) -> None:
    task = client.submit("countdown", {"seconds": 60}, delay=60)
    assert client.cancel(task.id).status == "cancelled"
    again = client.retry(task.id)
    assert again.retry_of == task.id
    with pytest.raises(WaitTimeout):
        client.wait(client.submit("countdown", {"seconds": 60}).id, timeout=0.5)
    failed = client.wait(client.submit("fails", {"code": "broken", "message": "it is"}).id)
    assert failed.ended
    assert not failed.succeeded
    assert failed.error is not None
    assert (failed.error.code, failed.error.message) == ("broken", "it is")


def test_lists_continue_after_the_last_task(client: Client) -> None:
    ids = [client.submit("sum", {"numbers": [n]}, tags=[str(n % 2)]).id for n in range(5)]
    for each in ids:
        client.wait(each)
    assert [task.id for task in client.list(page_size=2)] == ids
    assert [task.id for task in client.list(page_size=2, ordering="-id")] == ids[::-1]
    assert [task.id for task in client.list(page_size=2, ordering="-created_at")] == ids[::-1]
    assert [task.id for task in client.list(after=ids[2])] == ids[3:]
    assert [task.id for task in client.list(after=ids[2], ordering="-id")] == ids[1::-1]
    assert [task.id for task in client.list(tag="1", status=["completed"])] == ids[1::2]
    assert not [*client.list(status="error")]
    assert not [*client.list(created_before=datetime(2000, 1, 1, tzinfo=UTC))]
    with pytest.raises(InvalidRequest):
        next(client.list(status="nonsense"))


def test_a_link_shows_a_task_without_a_login(client: Client, live: Live) -> None:
    task = client.submit("sum", {"numbers": [1, 2]})
    client.wait(task.id)
    link = client.share(task.id, expires_in=60)
    assert link.url == f"{live.url}/shared/#{link.token}"
    assert link.token in (link.html or "")
    assert link.token not in repr(link)
    assert timedelta(0) < link.expires_at - datetime.now(UTC) < timedelta(seconds=62)
    headers = {"Authorization": f"Bearer {link.token}"}
    shown = httpx.get(f"{live.url}/api/shared/", headers=headers, timeout=30).json()
    assert (shown["status"], shown["result"]) == ("completed", {"result": 3})
    with pytest.raises(NotFound):
        client.share(task.id + 1_000_000)
    with pytest.raises(InvalidRequest):
        client.share(task.id, expires_in=10**9)


def test_log_lines_are_read_after_a_given_line(client: Client) -> None:
    task = client.wait(client.submit("says-much", {"times": 50}).id)
    lines = [*client.logs(task.id)]
    assert lines
    assert [*client.logs(task.id, after=len(lines) - 2)] == lines[-2:]


def test_a_quota_that_is_used_up_is_waited_for(client: Client) -> None:
    held = [client.submit("countdown", {"seconds": 2}).id for _ in range(5)]
    with pytest.raises(ActiveLimitExceeded):
        client.submit("sum", {"numbers": [1]})
    tasks = [NewTask("sum", {"numbers": [n]}) for n in range(12)]
    with pytest.raises(ActiveLimitExceeded):
        client.submit_many(tasks)
    with pytest.raises(ActiveLimitExceeded):
        [*client.submit_chunks(tasks, size=6, wait_for_places=True)]  # would never fit
    chunks = [*client.submit_chunks(tasks, size=5, wait_for_places=True)]
    assert [(chunk.first, len(chunk.ids)) for chunk in chunks] == [(0, 5), (5, 5), (10, 2)]
    assert all(client.wait(each).succeeded for each in held)


@pytest.mark.parametrize("fault", [LOSE, BUSY, OFTEN])
def test_a_submit_is_accepted_once_whatever_happens_to_its_requests(
    fault: str, proxy: FaultyProxy, new_client: NewClient
) -> None:
    pauses = []
    client = new_client(proxy.url, on_retry=lambda error, pause: pauses.append(pause))
    proxy.faults = [fault, fault]
    task = client.submit("countdown", {"seconds": 60}, delay=60)
    assert [each.id for each in client.list()] == [task.id]
    assert proxy.paths.count("POST /api/tasks/create/") == 3
    if fault != LOSE:
        assert pauses == [1, 1]  # as Retry-After says
    proxy.faults = [fault]
    ids = client.submit_many([NewTask("countdown", {"seconds": 60}, delay=60)] * 3)
    assert [each.id for each in client.list(after=task.id)] == ids
    proxy.faults = [fault]
    assert client.cancel(task.id).status == "cancelled"


@pytest.mark.parametrize("fault", [LOSE, BUSY, OFTEN])
def test_a_retry_makes_one_task_whatever_happens_to_its_requests(
    fault: str, proxy: FaultyProxy, new_client: NewClient
) -> None:
    client = new_client(proxy.url)
    task = client.cancel(client.submit("countdown", {"seconds": 60}, delay=60).id)
    proxy.faults = [fault]
    again = client.retry(task.id)
    assert [each.id for each in client.list()] == [task.id, again.id]
    client.submit("sum", {"numbers": [1]}, idempotency_key="one")
    with pytest.raises(IdempotencyKeyReused):
        client.retry(task.id, idempotency_key="one")


def test_retries_end_after_the_budget(proxy: FaultyProxy, new_client: NewClient) -> None:
    client = new_client(proxy.url, retry_for=0.5)
    for fault, error in ((BUSY, Unavailable), (OFTEN, RateLimited)):
        proxy.faults = [fault] * 5
        with pytest.raises(error):
            client.me()
        proxy.faults = []
    began = time.monotonic()
    away = Client(f"http://127.0.0.1:{free_port()}", token="x", retry_for=0.5)
    with away, pytest.raises(ConnectionFailed):
        away.me()
    assert time.monotonic() - began < 5
    other = Client(proxy.url.replace("http", "ftp"), token="x")
    with other, pytest.raises(ConnectionFailed):
        other.me()


def test_a_token_that_has_expired_is_renewed_once_for_all_threads(
    new_live: Callable[..., Live], new_client: NewClient
) -> None:
    live = new_live(TASKYARD_ROTATE_REFRESH="true")
    with FaultyProxy(live.url) as proxy:
        pair = new_client(live.url).login(*_new_user(live))
        tokens = MemoryTokens(Tokens("eyJhbGciOiJIUzI1NiJ9.e30.x", pair.refresh))
        names: list[str] = []

        def ask() -> None:
            with Client(proxy.url, tokens=tokens) as client:
                names.append(client.me().username)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(names) == 4
        # Using a rotated refresh token again revokes all of them.
        assert proxy.paths.count("POST /api/token/refresh/") == 1
        pair_after = tokens.load()
        assert pair_after is not None
        assert pair_after.refresh != pair.refresh
        with Client(live.url, token="nonsense") as client, pytest.raises(AuthenticationError):
            client.me()


def _new_user(live: Live) -> tuple[str, str]:
    name = f"user-{secrets.token_hex(6)}"
    with Client(live.url) as client:
        client.register(name, PASSWORD)
    return name, PASSWORD


def test_a_stream_goes_on_over_a_restart_of_the_web(
    new_live: Callable[..., Live], new_client: NewClient
) -> None:
    live = new_live()
    client = new_client(live.url)
    task = client.submit("countdown", {"seconds": 6})
    seen = []
    for event in client.stream(task.id):
        seen.append(event.task)
        progress = event.task.progress
        if progress and progress.current == 2:
            live.kill_web()
            live.start_web()
    assert seen[-1].succeeded
    # The stream resumed after the last event: no state comes twice.
    assert len({str(each.raw) for each in seen}) == len(seen)
