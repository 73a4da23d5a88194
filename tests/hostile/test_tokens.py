"""Tokens that are forged, stale, of another kind, or shared."""

import base64
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import jwt
import pytest

from tests.contract.client import User
from tests.hostile.attack import Attack

pytestmark = pytest.mark.servers
REFRESH = "/api/token/refresh/"


def key_of(attack: Attack) -> str:
    return (attack.live.home / "secret-key").read_text().strip()


def claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def access_of(user: User) -> str:
    return str(user.http.headers["Authorization"].split()[1])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def part(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def present(attack: Attack, token: str) -> None:
    """Send a token to every place that takes one; each must refuse it."""
    attack.keep_secret(token)
    for path in ("/api/tasks/", "/api/tasks/events/", "/api/tasks/1/"):
        attack.get(path, 401, headers=bearer(token))
    headers = {**bearer(token), "Prefer": "wait=1"}
    body = {"task_type": "sum", "input_data": {"numbers": [1]}}
    attack.post("/api/tasks/create/", body, 401, headers=headers)


def test_forged_tokens(attack: Attack) -> None:
    """alg=none, another algorithm, a wrong key, an altered payload: 401"""
    user = attack.user()
    good = claims(access_of(user))
    head, payload, signature = access_of(user).split(".")
    key = key_of(attack)
    for token in (
        *(jwt.encode(good, "", "none"), f"{part({'alg': 'none'})}.{payload}."),
        *(f"{part({'alg': 'None'})}.{payload}.", f"{part({'alg': 'NONE'})}.{payload}.{signature}"),
        *(f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{payload}.", f"{head}.{payload}"),
        *(f"{part({'alg': 'RS256'})}.{payload}.{signature}", f"{part({})}.{payload}.{signature}"),
        *(
            f"{part({'alg': ['HS256']})}.{payload}.{signature}",
            f"{part([1])}.{payload}.{signature}",
        ),
        *(f"{part(b'[' * 3000)}.{payload}.{signature}", f"{part(b'')}.{payload}.{signature}"),
        *(
            f"{part({'alg': 'HS256', 'crit': ['x']})}.{payload}.{signature}",
            f"..{signature}",
            "...",
        ),
        jwt.encode(good, "a wrong key that is as long as one has to be", "HS256"),
        *(jwt.encode(good, key, "HS384"), jwt.encode(good, key, "HS512")),
        jwt.encode(good, key, "HS256", headers={"kid": "../../dev/null", "jku": "http://x"})[:-2],
        f"{head}.{part({**good, 'user_id': '1'})}.{signature}",
        f"{head}.{payload}.{signature[::-1]}",
    ):
        present(attack, token)


def test_stale_tokens(attack: Attack) -> None:
    """expired, refresh as access, access as refresh: 401"""
    user = attack.user()
    key = key_of(attack)
    good, refresh = claims(access_of(user)), claims(user.refresh)
    past = int(time.time()) - 10
    present(attack, jwt.encode({**good, "exp": past}, key))
    present(attack, jwt.encode({k: v for k, v in good.items() if k != "exp"}, key))
    present(attack, user.refresh)
    attack.post(REFRESH, {"refresh": jwt.encode({**refresh, "exp": past}, key)}, 401)
    for path in (REFRESH, "/api/token/blacklist/"):
        attack.post(path, {"refresh": access_of(user)}, 401)
        for value in (None, 1, [], {}, True):
            attack.post(path, {"refresh": value}, 400)
        for value in ("", "x", "a.b.c", "." * 9000):
            attack.post(path, {"refresh": value}, 401)


def test_signed_nonsense(attack: Attack) -> None:
    """correctly signed user_id of "abc", [1], {}, NUL; other claims likewise: 401"""
    user = attack.user()
    key = key_of(attack)
    good, refresh = claims(access_of(user)), claims(user.refresh)
    odd = (*("abc\0", [1], {}, "\0", "1\0", None, True, 1.5, -1), *("", 10**30, "\ud800", "é"))
    for value in (*odd, "abc", "-1", str(10**30), "١"):
        present(attack, signed({**good, "user_id": value}, key))
        attack.post(REFRESH, {"refresh": signed({**refresh, "user_id": value}, key)}, 401)
    for claim in ("fpr", "token_type", "jti", "exp", "iat", "nbf"):
        for value in odd:
            # Values that convert to a time: true is 1, 10^30 is in the future, -1 in the past.
            expect = {200, 401} if claim in ("exp", "iat", "nbf") else {401}
            token = signed({**good, claim: value}, key)
            attack.get("/api/limits/", expect, headers=bearer(token))
            attack.get(
                "/api/tasks/1/", expect | {404}, headers={**bearer(token), "Prefer": "wait=1"}
            )
            attack.get("/api/tasks/1/events/", expect | {404}, headers=bearer(token))
            if claim in ("fpr", "token_type", "jti"):
                for path in (REFRESH, "/api/token/blacklist/"):
                    attack.post(path, {"refresh": signed({**refresh, claim: value}, key)}, 401)


def signed(payload: dict[str, Any], key: str) -> str:
    """Sign a payload, also one that PyJWT refuses to sign."""
    return jwt.api_jws.encode(json.dumps(payload).encode(), key, "HS256", {"typ": "JWT"})


def test_tokens_of_the_gone(attack: Attack) -> None:
    """refresh and access of a deleted or disabled user: 401"""
    gone, disabled = attack.user(), attack.user()
    attack.books.execute(
        f"UPDATE taskyard_accounts_user SET is_active = false WHERE username = '{disabled.name}'"
    )
    attack.live.command(
        *("manage", "shell", "-c"),
        "from taskyard.accounts.models import User;"
        f"User.objects.get(username='{gone.name}').delete()",
    )
    for user in (gone, disabled):
        present(attack, access_of(user))
        for path in (REFRESH, "/api/token/blacklist/"):
            attack.post(path, {"refresh": user.refresh}, 401)
        attack.post("/api/token/", {"username": user.name, "password": "password123"}, 401)


def test_parallel_refreshes(attack: Attack) -> None:
    """100 parallel refreshes with rotation on: one pair; reuse once it is used ends the family"""
    user = attack.user()
    other = httpx.post(
        f"{attack.live.url}/api/token/", json={"username": user.name, "password": "password123"}
    ).json()["refresh"]
    with (
        httpx.Client(base_url=attack.live.url, timeout=60) as client,
        ThreadPoolExecutor(25) as pool,
    ):
        answers = list(
            pool.map(lambda _: client.post(REFRESH, json={"refresh": user.refresh}), range(100))
        )
    assert Counter(answer.status_code for answer in answers) == {200: 100}
    (pair,) = {tuple(answer.json().values()) for answer in answers}
    attack.note("one pair for 100")
    used = attack.post(REFRESH, {"refresh": pair[1]}, 200).json()
    attack.keep_secret(*pair, *used.values(), other)
    # A client that presents it now has a copy, so every refresh token of the user has ended.
    for token in (user.refresh, pair[1], used["refresh"], other):
        assert httpx.post(f"{attack.live.url}{REFRESH}", json={"refresh": token}).status_code == 401


def test_a_changed_password_ends_every_token(attack: Attack) -> None:
    """a changed password ends every older token"""
    user = attack.user()
    new = attack.canary()
    body = {"old_password": "password123", "new_password": new}
    pair = attack.post("/api/me/password/", body, 200, user=user).json()
    present(attack, access_of(user))
    attack.post(REFRESH, {"refresh": user.refresh}, 401)
    attack.get("/api/limits/", 200, headers=bearer(pair["access"]))
