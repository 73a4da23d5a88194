"""Brokers with TLS, sentinels, few rights or a cluster work or are refused."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import redis

from taskyard.server import child_process
from taskyard.server.valkey import program
from tests.brokers import Watched, behind_tls
from tests.contract.client import User
from tests.live_system import Live, run_taskyard
from tests.servers import ROOT, free_port

pytestmark = pytest.mark.servers


def celery_pings(live: Live, url: str) -> bool:
    """Whether Celery reaches a worker through this address with our configuration."""
    asked = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "taskyard.worker", "inspect", "ping"],
        env={**live.env, "REDIS_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return "pong" in asked.stdout


def test_a_certificate_is_checked_everywhere_unless_the_address_says_otherwise(
    new_live: Any, live: Live, tmp_path: Path
) -> None:
    with behind_tls(live.redis_url, tmp_path) as (url, certificate):
        trusted, unchecked = f"{url}?ssl_ca_certs={certificate}", f"{url}?ssl_cert_reqs=CERT_NONE"
        for good in (trusted, unchecked):
            assert celery_pings(live, good)
            said = run_taskyard({**live.env, "REDIS_URL": good}, "doctor").stdout
            assert "ok     broker" in said
            assert "ok     eviction    noeviction" in said
        assert not celery_pings(live, url)
        doctor = run_taskyard({**live.env, "REDIS_URL": url}, "doctor")
        assert "WRONG  broker" in doctor.stdout
        assert "certificate verify failed" in doctor.stdout
        served = new_live(REDIS_URL=trusted)
        user = User.register(served)
        with user.http.stream("GET", "/tasks/events/") as events:
            task_id = user.sum(1, 2)
            assert any(f'"id":{task_id},' in line for line in events.iter_lines())
        assert user.wait(task_id)["result"] == {"result": 3}
        assert broker_of(served) == "ok"
        assert "away" not in served.log.read_text()
        distrusting = new_live(REDIS_URL=url)
        assert broker_of(distrusting) == "away"
        assert "hints away: Error 1 connecting" in distrusting.log.read_text()


def test_it_follows_the_primary_that_the_sentinels_name(
    new_live: Any, tmp_path: Path, figure: Any
) -> None:
    with Watched(tmp_path) as brokers:
        live: Live = new_live(REDIS_URL=brokers.url, TASKYARD_ACTIVE_LIMIT="100")
        user = User.register(live)
        assert user.wait(user.sum(1, 2))["result"] == {"result": 3}
        assert celery_pings(live, brokers.url)
        assert "ok     broker" in run_taskyard(live.env, "doctor").stdout
        brokers.kill_the_primary()
        ids = [user.sum(number) for number in range(20)]
        since = time.monotonic()
        while broker_of(live) != "ok":
            assert time.monotonic() - since < 60
            time.sleep(0.1)
        user.wait_for_all(ids, seconds=60)
        while not celery_pings(live, brokers.url):
            assert time.monotonic() - since < 60
        figure("primary killed: all go on after", f"{time.monotonic() - since:.1f} s")
        assert live.workers[0].poll() is None


def test_a_user_with_the_documented_rights_is_enough(new_live: Any, live: Live) -> None:
    page = (ROOT / "docs/how-to/postgresql-and-redis.md").read_text()
    (rule,) = re.findall(r"^user (taskyard on >PASSWORD .*)$", page, re.MULTILINE)
    with redis.Redis.from_url(live.redis_url) as admin:
        admin.execute_command("ACL", "SETUSER", *rule.split())
        address = urlsplit(live.redis_url)
        url = f"redis://taskyard:PASSWORD@{address.hostname}:{address.port}/0"
        served: Live = new_live(REDIS_URL=url, TASKYARD_QUEUES="default,other")
        user = User.register(served)
        with user.http.stream("GET", "/tasks/events/") as events:
            task_id = user.sum(1, 2)
            assert any(f'"id":{task_id},' in line for line in events.iter_lines())
        assert user.wait(task_id)["result"] == {"result": 3}
        assert celery_pings(served, url)
        served.stop_worker()
        assert run_taskyard(served.env, "doctor").stdout.count("WRONG") == 1, "no worker, no more"
        assert not [
            line for line in served.log.read_text().splitlines() if "No permissions" in line
        ]
        admin.execute_command("ACL", "DELUSER", "taskyard")


def test_a_cluster_is_refused_in_one_line(live: Live, tmp_path: Path) -> None:
    port = free_port()
    process = child_process.start(
        [
            program(),
            *("--port", str(port), "--dir", str(tmp_path)),
            *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
        ],
        env=dict(os.environ),
        death_signal=signal.SIGKILL,
    )
    try:
        url = f"redis://127.0.0.1:{port}/0"
        with redis.Redis.from_url(url) as client:
            deadline = time.monotonic() + 20
            while not answers(client):
                assert time.monotonic() < deadline
        for command in ("web", "worker"):
            refused = run_taskyard({**live.env, "REDIS_URL": url}, command)
            assert_refused(refused, "REDIS_URL names a cluster; ")
        assert_refused(celery_worker(live, url), "REDIS_URL names a cluster; ")
        doctor = run_taskyard({**live.env, "REDIS_URL": url}, "doctor")
        assert doctor.returncode == 1
        assert "WRONG  broker      is a cluster; " in doctor.stdout
    finally:
        child_process.stop([process], seconds=5)


def test_a_bare_celery_worker_is_refused_a_broker_that_evicts(live: Live) -> None:
    with redis.Redis.from_url(live.redis_url) as broker:
        broker.config_set("maxmemory-policy", "allkeys-lru")
        try:
            said = "Redis has maxmemory-policy allkeys-lru; Taskyard needs noeviction"
            assert_refused(celery_worker(live, live.redis_url), said)
        finally:
            broker.config_set("maxmemory-policy", "noeviction")


def celery_worker(live: Live, url: str) -> "subprocess.CompletedProcess[str]":
    """A worker that is started by Celery's own command."""
    return subprocess.run(
        [
            *(sys.executable, "-W", "ignore:You're running the worker with superuser"),
            *("-m", "celery", "-q", "-A", "taskyard.worker", "worker", "-c", "1"),
        ],
        env={**live.env, "REDIS_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_refused(ran: "subprocess.CompletedProcess[str]", said: str) -> None:
    assert ran.returncode == 2, ran.stderr
    assert ran.stderr.startswith(f"taskyard: {said}")
    assert ran.stderr.count("\n") == 1


def answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def broker_of(live: Live) -> str:
    return str(httpx.get(f"{live.url}/readyz", timeout=10).json()["broker"])
