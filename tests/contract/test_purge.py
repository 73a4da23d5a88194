"""A purge of many thousands of tasks deletes their rows and does not slow down other requests."""

import time
from typing import Any

import pytest

from tests.contract.client import User
from tests.live_system import Live
from tests.old_tasks import fill, left

pytestmark = pytest.mark.servers
COUNT = 20_000


def test_a_backlog_is_purged_while_others_are_served(new_live: Any, figure: Any) -> None:
    live: Live = new_live(TASKYARD_RETENTION_DAYS="7")
    user, old = User.register(live), User.register(live)
    live.stop_worker()
    fill(live, owner=old.name, count=COUNT)
    live.start_worker()
    began, kept, slowest = time.monotonic(), [user.sum(1, 2)], 0.0
    user.wait(kept[0], seconds=60)
    while old.http.get("/tasks/").json()["count"]:
        assert time.monotonic() - began < COUNT / 300
        asked_at = time.monotonic()
        kept.append(user.sum(1, 2))
        assert user.wait(kept[-1])["result"] == {"result": 3}
        slowest = max(slowest, time.monotonic() - asked_at)
    figure(f"{COUNT} old tasks purged within", f"{time.monotonic() - began:.1f} s")
    figure("another's sum meanwhile, at most", f"{slowest * 1000:.0f} ms")
    while (now := left(live)) != f"[{len(kept)}, 0, 0, 0] {len(kept)}":
        assert time.monotonic() - began < 60, now
