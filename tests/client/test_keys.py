"""API keys in the client library and on the command line."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from taskyard.client import (
    AsyncClient,
    AuthenticationError,
    Client,
    InvalidRequest,
    NotFound,
    RequestRejected,
)
from tests.client.conftest import Prompt

pytestmark = pytest.mark.servers


def test_a_client_works_with_a_key_as_its_token(client: Client) -> None:
    later = datetime.now(UTC) + timedelta(days=1)
    made = client.create_key(
        "ci", ["tasks:submit", "tasks:read"], task_types=["sum"], expires_at=later
    )
    assert made.key is not None
    assert made.key not in repr(made)
    assert (made.name, made.scopes, made.task_types) == (
        "ci", ("tasks:submit", "tasks:read"), ("sum",),
    )  # fmt: skip
    assert made.expires_at == later
    (listed,) = client.keys()
    assert (listed.id, listed.key) == (made.id, None)
    with Client(client.url, token=made.key) as program:
        task = program.submit("sum", {"numbers": [1, 2]})
        assert program.wait(task.id).result == {"result": 3}
        with pytest.raises(RequestRejected) as refused:
            program.cancel(task.id)
        assert (refused.value.status, refused.value.code) == (403, "insufficient_scope")
        with pytest.raises(RequestRejected) as refused:
            program.submit("countdown", {"seconds": 1})
        assert refused.value.code == "task_type_refused"
        assert [error.pointer for error in refused.value.errors] == ["/task_type"]
        client.revoke_key(made.id)
        with pytest.raises(AuthenticationError):
            program.get(task.id)
    with pytest.raises(NotFound):
        client.revoke_key(made.id)
    with pytest.raises(InvalidRequest):
        client.create_key("", [])


def test_the_asynchronous_client_has_keys_too(client: Client) -> None:
    made = client.create_key("ci", ["tasks:read"])

    async def run() -> int:
        async with AsyncClient(client.url, token=made.key) as program:
            return len([task async for task in program.list()])

    assert asyncio.run(run()) == 0


def test_keys_are_made_listed_used_and_revoked(prompt: Prompt) -> None:
    words = ("--scope", "tasks:submit", "--scope", "tasks:read", "--type", "sum", "--days", "30")
    ran = prompt.type("keys", "create", "nightly build", *words)
    assert ran.code == 0, ran.err
    key = ran.out.strip()
    assert key.startswith("ty_")
    assert "not shown again" in ran.err
    (row,) = (row.split("\t") for row in prompt.type("keys", "list").out.splitlines())
    number, prefix = row[0], row[1]
    assert key.startswith(f"ty_{prefix}_")
    assert row[2:5] == ["nightly build", "tasks:submit tasks:read", "sum"]
    with_key = {"TASKYARD_TOKEN": key}
    ran = prompt.type("submit", "sum", "numbers:=[1,2]", "--wait", **with_key)
    assert (ran.code, ran.out) == (0, '{"result": 3}\n'), ran.err
    assert prompt.type("types", **with_key).code == 0
    assert "0 / 5" in prompt.type("whoami", **with_key).out
    assert "username" not in json.loads(prompt.type("whoami", "--json", **with_key).out)
    ran = prompt.type("keys", "create", "more", "--scope", "files", **with_key)
    assert (ran.code, ran.out) == (4, "")
    assert prompt.type("keys", "revoke", number).code == 0
    assert prompt.type("list", **with_key).code == 3
    ran = prompt.type("keys", "revoke", number)
    assert (ran.code, ran.out) == (4, "")
    assert f"key {number}" in ran.err


def test_wrong_options_of_a_key_are_refused(prompt: Prompt) -> None:
    ran = prompt.type("keys", "create", "x", "--scope", "everything")
    assert (ran.code, ran.out) == (4, "")
    assert "scopes[0]" in ran.err
    assert prompt.type("keys", "create", "x").code == 2
    assert prompt.type("keys", "create", "x", "--scope", "files", "--days", "9999999999").code == 2
    assert prompt.type("keys", "list").out == ""
