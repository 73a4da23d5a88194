"""`fields=` in the asynchronous responses: streams and `Prefer: wait`."""

import json
from typing import Any

import pytest

from tests.contract.client import User
from tests.live_system import Live

pytestmark = pytest.mark.servers


def first_data(user: User, path: str) -> dict[str, Any]:
    with user.http.stream("GET", path) as stream:
        assert stream.status_code == 200
        line = next(line for line in stream.iter_lines() if line.startswith("data:"))
        found: dict[str, Any] = json.loads(line.removeprefix("data:"))
        return found


def test_streams_and_waits_have_the_fields_that_are_wanted(live: Live) -> None:
    user = User.register(live)
    task_id = user.submit("countdown", {"seconds": 60}, delay=60)
    for path in ("/tasks/events/", f"/tasks/{task_id}/events/"):
        assert first_data(user, f"{path}?fields=status,id") == {"id": task_id, "status": "pending"}
        assert len(first_data(user, path)) > 10
        assert user.http.get(f"{path}?fields=nope").status_code == 400
    waited = user.http.get(
        f"/tasks/{user.sum(1, 2)}/?fields=result", headers={"Prefer": "wait=20"}, timeout=60
    )
    assert waited.json() == {"result": {"result": 3}}
    assert waited.headers["Preference-Applied"] == "wait=20"
    refused = user.http.get(f"/tasks/{task_id}/?fields=nope", headers={"Prefer": "wait=20"})
    assert refused.status_code == 400
