"""Names, passwords and throttles."""

import secrets
import time

import httpx
import pytest

from tests.hostile.attack import Attack

pytestmark = pytest.mark.servers
REGISTER = "/api/register/"


def test_names(attack: Attack) -> None:
    """usernames with control, direction and null characters, 151 characters, twins: 400"""
    name = f"twin-{secrets.token_hex(4)}"
    attack.user(f"{name}-fi")
    canary = attack.canary()
    for username in (
        *("a\0b", "a\x01b", "a\x7fb", "a\nb", "a\u200bb", "a\u202eb", "a\u2066b", "\ufeffab"),
        *("a b", " ab", "ab ", "", "x" * 151, "a\u3164", "\u115f", "a/b", "<img src=x onerror=1>"),
        *("a'b", 'a"b', "a;b", "a%00", "\u2028", "a\ud800", "💣", canary + "!", "a\u0000"),
        *(f"{name}-FI", f"{name}-ﬁ", f"{name.upper()}-fI", f"{name}-ＦＩ", f"{name}-fi"),
        *(None, 1, True, [], {}, ["a"], {"a": 1}, 1.5),
    ):
        attack.post(REGISTER, {"username": username, "password": "password123"}, 400, hidden=canary)


def test_passwords(attack: Attack) -> None:
    """password "1": 400, and one of 2 MB: 413 in < 50 ms"""
    canary = attack.canary()
    for password in (
        "1",
        "",
        "short",
        "12345678",
        None,
        1,
        [],
        {},
        canary * 10,
        "x" * 129,
        "\0" * 9,
    ):
        body = {"username": "somebody", "password": password}
        attack.post(REGISTER, body, 400, hidden=canary)
    attack.post(REGISTER, {"username": "somebody1", "password": "somebody1"}, 400)
    user = attack.user()
    huge = b'{"username":"somebody","password":"%s"}' % (b"x" * 2_000_000)
    change = b'{"old_password":"password123","new_password":"%s"}' % (b"x" * 2_000_000)
    attack.post("/api/me/password/", change, 413, user=user)
    attack.post("/api/token/", huge, 413)
    seconds = []
    with httpx.Client(base_url=attack.live.url) as client:
        for _ in range(7):
            begun = time.perf_counter()
            answer = client.post(
                REGISTER, content=huge, headers={"Content-Type": "application/json"}
            )
            seconds.append(time.perf_counter() - begun)
            attack.judge(answer, 413, "a password of 2 MB")
            assert len(answer.content) < 1000
    seconds.sort()
    attack.note(f"2 MB: median {seconds[3] * 1000:.0f} ms, best {seconds[0] * 1000:.0f} ms")


def test_forwarded_addresses(attack: Attack) -> None:
    """varied X-Forwarded-For: the same throttle bucket, 429 after 10 failures"""
    user = attack.user()
    refused = []
    for number in range(14):
        headers = {
            "X-Forwarded-For": f"10.9.8.{number}, 192.0.2.{number}",
            "Forwarded": f"for=10.0.0.{number}",
            "X-Real-IP": f"10.1.1.{number}",
            "X-Client-IP": f"10.1.2.{number}",
        }
        body = {"username": user.name, "password": attack.canary()}
        answer = attack.post("/api/token/", body, {401, 429}, headers=headers)
        refused.append(answer.status_code)
    assert refused == [401] * 10 + [429] * 4
    assert 0 < int(answer.headers["retry-after"]) <= 60
    # Another spelling of the name does not help, because it is the same name.
    twin = {"username": user.name.upper(), "password": "password1234"}
    attack.post("/api/token/", twin, 429)
    attack.note("429 from the 11th on")


def test_who_is_there(attack: Attack) -> None:
    """a wrong password and an unknown name are answered with the same bytes"""
    user = attack.user()
    wrong = attack.post("/api/token/", {"username": user.name, "password": "password1234"}, 401)
    nobody = {"username": f"nobody-{secrets.token_hex(4)}", "password": "password1234"}
    assert attack.post("/api/token/", nobody, 401).content == wrong.content
