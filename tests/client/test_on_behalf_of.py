"""The client library and the command line with the key of a service account."""

import asyncio
import json
import secrets
from pathlib import Path

import pytest

from taskyard.client import ApiError, AsyncClient, Client, NotFound
from tests.client.conftest import Prompt
from tests.live_system import Live

pytestmark = pytest.mark.servers
SCOPES = ("tasks:submit", "tasks:read", "tasks:cancel", "files")


@pytest.fixture
def key(live: Live) -> str:
    return live.command("service-account", f"s-{secrets.token_hex(6)}", "--key", *SCOPES).strip()


def test_a_client_acts_for_its_subjects(live: Live, key: str) -> None:
    with Client(live.url, token=key) as shop:
        first, second = shop.on_behalf_of("one"), shop.on_behalf_of("two")
        task = first.submit("sum", {"numbers": [1, 2]})
        assert task.subject == "one"
        done = first.wait(task.id, timeout=30)
        assert (done.result, done.subject) == ({"result": 3}, "one")
        assert [each.id for each in first.list()] == [task.id]
        assert [event.task.subject for event in first.stream(task.id)] == ["one"]
        for other in (shop, second):
            with pytest.raises(NotFound):
                other.get(task.id)
        file = first.upload(b"some text", "a.txt")
        assert [each.id for each in first.files.list()] == [file.id]
        assert list(shop.files.list()) == []
        assert shop.submit("sum", {"numbers": [1]}).subject is None
    with Client(live.url, token=key, on_behalf_of="one") as again:
        assert again.get(task.id).subject == "one"


def test_a_wait_of_the_server_names_the_subject(live: Live, key: str) -> None:
    with Client(live.url, token=key, on_behalf_of="one") as client:
        done = client.wait(client.submit("countdown", {"seconds": 1}).id, timeout=30)
        assert (done.status, done.subject) == ("completed", "one")


def test_a_subjects_token_follows_its_tasks(live: Live, key: str) -> None:
    with Client(live.url, token=key) as shop:
        token = shop.subject_token("one", expires_in=120)
        task = shop.on_behalf_of("one").submit("countdown", {"seconds": 1})
    with Client(live.url, token=token) as browser:
        events = list(browser.stream(task.id))
        assert events[-1].task.status == "completed"
        assert {event.task.subject for event in events} == {None}
        with pytest.raises(ApiError) as refused:
            browser.submit("sum", {"numbers": [1]})
        assert (refused.value.status, refused.value.code) == (403, "insufficient_scope")


def test_the_asynchronous_client_does_the_same(live: Live, key: str) -> None:
    async def run() -> None:
        async with AsyncClient(live.url, token=key) as shop:
            customer = shop.on_behalf_of("one")
            task = await customer.submit("sum", {"numbers": [1]})
            assert (await customer.get(task.id)).subject == "one"
            assert await shop.subject_token("one")

    asyncio.run(run())


def test_a_person_is_refused(client: Client) -> None:
    with pytest.raises(ApiError) as refused:
        client.on_behalf_of("one").limits()
    assert (refused.value.status, refused.value.code) == (403, "on_behalf_refused")


def test_the_command_line_acts_for_a_subject(live: Live, key: str, tmp_path: Path) -> None:
    prompt = Prompt(live.url, tmp_path)
    acting = ("--on-behalf-of", "one")
    submitted = prompt.type(
        *acting, "submit", "sum", "numbers:=[1,2]", "--wait", "--json", TASKYARD_TOKEN=key
    )
    assert submitted.code == 0, submitted.err
    task = json.loads(submitted.out.splitlines()[-1])
    assert (task["subject"], task["result"]) == ("one", {"result": 3})
    shown = prompt.type(*acting, "show", str(task["id"]), "--json", TASKYARD_TOKEN=key)
    assert json.loads(shown.out)["subject"] == "one"
    assert prompt.type("show", str(task["id"]), TASKYARD_TOKEN=key).code == 4
    wrong = prompt.type("--on-behalf-of", "a b", "list", TASKYARD_TOKEN=key)
    assert wrong.code == 2
