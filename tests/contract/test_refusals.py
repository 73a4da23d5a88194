"""While Redis refuses commands, no task fails and the state is reported; then work goes on."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest
import redis

from tests.contract.client import User
from tests.live_system import Live, run_taskyard
from tests.servers import free_port

pytestmark = pytest.mark.servers
Admin = Any


@contextmanager
def configured(admin: Admin, **values: object) -> Iterator[None]:
    names = {name.replace("_", "-"): value for name, value in values.items()}
    before = {name: admin.config_get(name)[name] for name in names}
    for name, value in names.items():
        admin.config_set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            admin.config_set(name, value)


@contextmanager
def out_of_memory(admin: Admin) -> Iterator[None]:
    with configured(admin, maxmemory=1):
        yield


@contextmanager
def a_replica(admin: Admin) -> Iterator[None]:
    admin.replicaof("127.0.0.1", free_port())
    try:
        yield
    finally:
        admin.replicaof("NO", "ONE")


@contextmanager
def a_replica_without_its_primary(admin: Admin) -> Iterator[None]:
    with configured(admin, replica_serve_stale_data="no"), a_replica(admin):
        yield


@contextmanager
def too_few_replicas(admin: Admin) -> Iterator[None]:
    with configured(admin, min_replicas_to_write=1):
        yield


@contextmanager
def no_scripts(admin: Admin) -> Iterator[None]:
    admin.execute_command("ACL", "SETUSER", "default", "-eval", "-evalsha")
    try:
        yield
    finally:
        admin.execute_command("ACL", "SETUSER", "default", "+@all")


@contextmanager
def no_writes(admin: Admin) -> Iterator[None]:
    admin.execute_command("ACL", "SETUSER", "default", "-@write")
    try:
        yield
    finally:
        admin.execute_command("ACL", "SETUSER", "default", "+@all")


@contextmanager
def busy_with_a_script(admin: Admin) -> Iterator[None]:
    def run() -> None:
        with suppress(redis.RedisError):
            admin.eval("while true do end", 0)

    with configured(admin, lua_time_limit=100):
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            admin.script_kill()
            thread.join()


FAULTS = [
    out_of_memory,
    a_replica,
    a_replica_without_its_primary,
    too_few_replicas,
    no_scripts,
    no_writes,
    busy_with_a_script,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_it_is_named_nothing_fails_and_work_goes_on_when_it_is_over(
    new_live: Any, fault: Callable[[Admin], Any], figure: Callable[[str, str], None]
) -> None:
    live: Live = new_live(TASKYARD_ACTIVE_LIMIT="1000")
    user = User.register(live)
    assert user.wait(user.sum(1))["status"] == "completed"
    with redis.Redis.from_url(live.redis_url, decode_responses=True) as admin:
        with fault(admin):
            named_after = named(live)
            ids = [user.sum(number) for number in range(20)]
            assert User.register(live).http.get("/me/").status_code == 200
            doctor = run_taskyard(live.env, "doctor")
            assert doctor.returncode == 1
            assert "refuses" in doctor.stdout
        over_at = time.monotonic()
        while broker_of(live) != "ok":
            assert time.monotonic() - over_at < 30
            time.sleep(0.05)
        user.wait_for_all(ids, seconds=60)
        figure(f"{fault.__name__}: named after", f"{named_after:.1f} s")
        figure(f"{fault.__name__}: all done after", f"{time.monotonic() - over_at:.1f} s")
    assert live.workers[0].poll() is None


def named(live: Live) -> float:
    began = time.monotonic()
    while broker_of(live) != "refuses":
        assert time.monotonic() - began < 10
        time.sleep(0.05)
    metrics = httpx.get(f"{live.url}/metrics", timeout=10).text
    assert "taskyard_broker_up 0.0" in metrics
    assert 'taskyard_broker_state{state="refuses"} 1.0' in metrics
    return time.monotonic() - began


def broker_of(live: Live) -> str:
    answer = httpx.get(f"{live.url}/readyz", timeout=10)
    assert answer.status_code == 200, "readiness does not need the broker"
    return str(answer.json()["broker"])
