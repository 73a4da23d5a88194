"""Throttles, counted in a real Redis."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.test import RequestFactory

from taskyard.accounts import rate_limit
from taskyard.accounts.addresses import client_ip, client_ip_of
from taskyard.accounts.errors import Throttled
from taskyard.accounts.models import User
from taskyard.core import redis as core_redis
from taskyard.core.rates import parse_rate
from tests.api_client import ApiClient
from tests.configured import configure

PASSWORD = "correct horse battery"


@pytest.fixture
def address() -> str:
    """An address that no other test counts for."""
    return f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::1"


@pytest.fixture(autouse=True)
def redis_answered(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Iterator[None]:
    """Fail clearly if Redis is slow, because the throttle then admits requests without counting.

    Each test has its own circuit breaker, so that one slow call affects one test.
    """
    monkeypatch.setattr(core_redis, "breaker", core_redis.CircuitBreaker())
    yield
    if "without_redis" not in request.node.name:
        away = [record.getMessage() for record in caplog.records if "without Redis" in record.msg]
        assert not away, "Redis did not answer during this test"


@pytest.fixture
def forwarded(settings: Any, address: str) -> dict[str, str]:
    configure(settings, TRUSTED_PROXIES=1)
    return {"X_Forwarded_For": address}


def test_registrations_of_an_address_are_limited(
    nobody: ApiClient, settings: Any, forwarded: dict[str, str]
) -> None:
    configure(settings, REGISTER_RATE="2/hour")

    def register(name: str, password: str = PASSWORD) -> Any:
        return nobody.post("register/", {"username": name, "password": password}, **forwarded)

    for _ in range(5):
        assert register("wrong name").status_code == 400
        assert register("a", "1").status_code == 400
    assert [register(name).status_code for name in ("a", "b", "c")] == [201, 201, 429]
    refused = register("d")
    assert refused.json()["code"] == "throttled"
    assert 3590 <= int(refused.headers["Retry-After"]) <= 3600
    assert User.objects.count() == 2


def test_failed_logins_of_a_name_from_an_address_are_limited(
    nobody: ApiClient, user: User, settings: Any, forwarded: dict[str, str]
) -> None:
    configure(settings, LOGIN_RATE="3/min")
    user.set_password(PASSWORD)
    user.save()

    def login(password: str, name: str = "newuser", **headers: str) -> int:
        body = {"username": name, "password": password}
        return int(nobody.post("token/", body, **(forwarded | headers)).status_code)

    for _ in range(5):
        assert login(PASSWORD) == 200
    assert [login("wrong", name) for name in ("newuser", "NEWUSER", "newuser")] == [401] * 3
    assert login("wrong") == 429
    assert login(PASSWORD) == 429
    assert login("wrong", "somebody") == 401
    assert login(PASSWORD, X_Forwarded_For="192.0.2.1") == 200


def test_logins_of_ever_other_names_from_an_address_are_limited(
    nobody: ApiClient, user: User, as_user: Any, settings: Any, address: str
) -> None:
    """Every attempt under any name costs a hash and counts; an IPv6 network is one address."""
    configure(settings, ATTEMPT_RATE="5/min")
    configure(settings, TRUSTED_PROXIES=1)
    user.set_password(PASSWORD)
    user.save()
    network = address.removesuffix("::1")

    def login(name: str, host: str, password: str = "wrong") -> Any:
        body = {"username": name, "password": password}
        return nobody.post("token/", body, X_Forwarded_For=host)

    tried = [login(f"name{number}", f"{network}:0:0::{number}").status_code for number in range(4)]
    assert [*tried, login("newuser", address, PASSWORD).status_code] == [401] * 4 + [200]
    refused = login("newuser", f"[{network}:0:0::9]:5123", PASSWORD)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    body = {"old_password": PASSWORD, "new_password": "another good one"}
    changed = as_user(user).post("me/password/", body, X_Forwarded_For=address)
    assert changed.status_code == 429
    assert login("newuser", "192.0.2.77", PASSWORD).status_code == 200


def test_attempts_are_limited_by_the_rate_of_failures_where_nothing_is_said(
    db: None, settings: Any, address: str
) -> None:
    configure(settings, LOGIN_RATE="1/hour", ATTEMPT_RATE=None)
    for _ in range(20):
        rate_limit.count_attempt(address)
    with pytest.raises(Throttled):
        rate_limit.count_attempt(address)


def test_the_old_password_cannot_be_guessed_either(
    user: User, as_user: Any, settings: Any, forwarded: dict[str, str]
) -> None:
    configure(settings, LOGIN_RATE="2/min")
    body = {"old_password": "wrong", "new_password": "another good one"}
    api = as_user(user)
    statuses = [api.post("me/password/", body, **forwarded).status_code for _ in range(3)]
    assert statuses == [400, 400, 429]


def test_guesses_at_the_same_moment_do_not_outnumber_the_rate(
    db: None, settings: Any, address: str
) -> None:
    configure(settings, REGISTER_RATE="10/hour")

    def attempt(_: int) -> bool:
        try:
            rate_limit.count_registration(address)
        except Throttled:
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(attempt, range(100))) == 10


def test_an_outage_during_a_login_is_no_failure(db: None, settings: Any, address: str) -> None:
    configure(settings, LOGIN_RATE="1/min")
    for _ in range(3):
        with (
            pytest.raises(RuntimeError),
            rate_limit.counting_failures(ValueError, username="a", address=address),
        ):
            raise RuntimeError
    with (
        pytest.raises(ValueError, match="wrong"),
        rate_limit.counting_failures(ValueError, username="a", address=address),
    ):
        raise ValueError("wrong")
    with (
        pytest.raises(Throttled),
        rate_limit.counting_failures(ValueError, username="a", address=address),
    ):
        pass


def test_a_window_ends(settings: Any, address: str) -> None:
    import time

    configure(settings, REGISTER_RATE="1/s")
    rate_limit.count_registration(address)
    with pytest.raises(Throttled) as refused:
        rate_limit.count_registration(address)
    assert refused.value.retry_after == 1
    time.sleep(1.05)
    rate_limit.count_registration(address)


def test_without_redis_everybody_passes_and_the_log_says_so(
    settings: Any, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    configure(settings, REGISTER_RATE="1/hour")
    configure(settings, BROKER_URL="redis://127.0.0.1:1/0")
    for _ in range(3):
        rate_limit.count_registration(address)
    assert "throttle passed without Redis" in caplog.text


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, None, "192.0.2.9"),
        (0, "198.51.100.1", "192.0.2.9"),
        (1, None, "192.0.2.9"),
        (1, "198.51.100.1", "198.51.100.1"),
        (1, "6.6.6.6, 198.51.100.1", "198.51.100.1"),
        (2, "6.6.6.6, 198.51.100.1, 10.0.0.1", "198.51.100.1"),
        (3, "198.51.100.1", "198.51.100.1"),
        (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (1, "::ffff:198.51.100.1", "198.51.100.1"),
        (1, "nonsense", "unknown"),
        (1, "", "192.0.2.9"),
    ],
)
def test_an_address_is_as_true_as_the_proxies(
    settings: Any, proxies: int, forwarded: str | None, address: str
) -> None:
    configure(settings, TRUSTED_PROXIES=proxies)
    headers = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.9", **headers)
    assert client_ip(request) == address


@pytest.mark.parametrize(
    ("written", "address"),
    [
        *((text, "203.0.113.7") for text in (
            "203.0.113.7", "203.0.113.7:5123", " 203.0.113.7 ", "203.0.113.7:5123\t",
            '"203.0.113.7:5123"', "[::ffff:203.0.113.7]:80", "::ffff:203.0.113.7")),
        *((text, "2001:db8:1:2::/64") for text in (
            "2001:db8:1:2::7", "[2001:db8:1:2::7]", "[2001:db8:1:2::7]:5123",
            " [2001:db8:1:2:3:4:5:6]:443 ", '"[2001:db8:1:2::7]:5123"', "2001:DB8:1:2::7",
            "2001:db8:1:2::7%eth0", "[2001:db8:1:2::7%25eth0]:80")),
        *((text, "fe80::/64") for text in ("fe80::1%eth0", "[fe80::1%eth0]:5123")),
        *((text, "unknown") for text in (
            "", " ", ":80", "[", "[]", "]:80", "203.0.113.7:80:80", "_hidden", "203.0.113",
            "203.0.113.256", "%", "::1::", "1" * 60_000, "[" * 60_000)),
    ],
    ids=lambda text: text[:40],
)  # fmt: skip
def test_an_address_is_read_as_proxies_write_it(settings: Any, written: str, address: str) -> None:
    configure(settings, TRUSTED_PROXIES=1)
    for forwarded_for, forwarded in (
        (f"6.6.6.6, {written}", ""),
        ("", f"for=6.6.6.6, proto=https;For={written};by=10.0.0.1"),
        (f"6.6.6.6,{written}", "for=7.7.7.7"),
    ):
        found = client_ip_of("192.0.2.9", forwarded_for=forwarded_for, forwarded=forwarded)
        assert found == address
    configure(settings, TRUSTED_PROXIES=0)
    ignored = client_ip_of(written, forwarded_for="7.7.7.7", forwarded="for=7.7.7.7")
    assert ignored == address


@pytest.mark.parametrize("rate", ["30", "x/hour", "30/fortnight", "-1/min", "30/"])
def test_a_rate_that_is_none_is_an_error(rate: str) -> None:
    with pytest.raises(ValueError, match="a rate is"):
        parse_rate(rate)
