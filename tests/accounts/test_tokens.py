"""Tokens: their use, their end, and invalid ones."""

import base64
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.conf import settings as django_settings
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

from taskyard.accounts import tokens
from taskyard.accounts.models import User
from taskyard.core import lifecycle
from taskyard.core.models import Task
from tests.api_client import ApiClient
from tests.configured import configure

PASSWORD = "correct horse battery"


@pytest.fixture
def person(user: User) -> User:
    user.set_password(PASSWORD)
    user.save()
    return user


def login(nobody: ApiClient, **changes: Any) -> Any:
    return nobody.post("token/", {"username": "newuser", "password": PASSWORD, **changes})


def refresh(nobody: ApiClient, token: str) -> Any:
    return nobody.post("token/refresh/", {"refresh": token})


def opens(nobody: ApiClient, access: str) -> bool:
    answer = nobody.get("me/", Authorization=f"Bearer {access}")
    assert answer.status_code in (200, 401), answer.content
    if answer.status_code == 401:
        body = answer.json()
        assert list(body) == ["detail", "code", "messages"]
        assert body["code"] == "token_not_valid"
        assert body["messages"] == [
            {"token_class": "AccessToken", "token_type": "access", "message": body["detail"]}
        ]
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'
    return bool(answer.status_code == 200)


def signed(key: str = "", algorithm: str | None = "HS256", **claims: Any) -> str:
    """Sign any payload, by default with our key."""
    payload = {
        "token_type": "access", "exp": int(time.time()) + 60, "iat": int(time.time()), "jti": "x",
        "user_id": "1", **claims,
    }  # fmt: skip
    payload = {name: value for name, value in payload.items() if value is not ...}
    secret = (key or django_settings.SECRET_KEY) if algorithm else None
    return jwt.encode(payload, secret, algorithm)


def claims_of(user: User) -> dict[str, Any]:
    return {"user_id": str(user.pk), tokens.FINGERPRINT: tokens._fingerprint(user)}


def test_a_token_opens_the_api_with_one_query(nobody: ApiClient, person: User) -> None:
    access = login(nobody).json()["access"]
    with CaptureQueriesContext(connection) as queries:
        assert nobody.get("task-types/", Authorization=f"Bearer {access}").status_code == 200
    assert len(queries) == 1


@pytest.mark.parametrize(
    "wrong",
    [{"password": "wrong password"}, {"username": "nobody"}, {"password": ""}, {"username": ""}],
)
def test_a_wrong_name_and_a_wrong_password_are_refused_alike(
    nobody: ApiClient, person: User, wrong: dict[str, str]
) -> None:
    refused = login(nobody, **wrong)
    assert refused.status_code == 401
    assert refused.json() == {
        "detail": "Нет активной учётной записи с таким именем и паролем.",
        "code": "no_active_account",
    }
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="api"'


def test_a_disabled_user_cannot_log_in(nobody: ApiClient, person: User) -> None:
    User.objects.update(is_active=False)
    assert login(nobody).json()["code"] == "no_active_account"


@pytest.mark.parametrize("wrong", [{"password": "wrong password"}, {"username": "nobody"}])
def test_an_unknown_name_costs_one_hash_as_a_wrong_password_does(
    nobody: ApiClient, person: User, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str]
) -> None:
    hashed: list[str] = []

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(hasher: Any, password: str, *rest: Any) -> Any:
            hashed.append(password)
            return method(hasher, password, *rest)

        return call

    for name in ("encode", "verify"):
        method = getattr(Argon2PasswordHasher, name)
        monkeypatch.setattr(Argon2PasswordHasher, name, counted(method))
    assert login(nobody, **wrong).status_code == 401
    assert hashed == [wrong.get("password", PASSWORD)]


@pytest.mark.parametrize(
    "body",
    [{}, {"username": "newuser"}, {"username": [], "password": {}}, [1],
     {"username": "x" * 151, "password": "x"}, {"username": "newuser", "password": "x" * 129}],
)  # fmt: skip
def test_a_login_of_the_wrong_shape_is_400(nobody: ApiClient, body: Any) -> None:
    assert nobody.post("token/", body).status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        *({"user_id": value} for value in (
            "abc", [1], {}, "\0", 10**30, str(10**30), str(2**63), None, True, 1, 1.5, -1, "-1", "",
            "١", " 1", "1\n", ...)),
        *({"exp": value} for value in (0, -1, 10**30, "x", None, [], 1e308, ...)),
        *({"jti": value} for value in (None, 5, [], {}, "\0", "\ud800", ...)),
        *({"token_type": value} for value in ("refresh", "sliding", None, [], ...)),
        *({tokens.FINGERPRINT: value} for value in ("", None, [], "é", "\0", "\ud800", 5, ...)),
        {"nbf": 10**12}, {"iat": 10**12}, {"aud": "x"},
    ],
    ids=ascii,
)  # fmt: skip
def test_a_correctly_signed_token_with_nonsense_in_it_is_refused(
    nobody: ApiClient, person: User, changes: dict[str, Any]
) -> None:
    good = claims_of(person)
    assert opens(nobody, signed(**good))
    if changes != {"aud": "x"}:
        assert not opens(nobody, signed(**good | changes))
    for token in (signed(**good | {"token_type": "refresh"} | changes),):
        answer = refresh(nobody, token)
        assert answer.status_code in (200, 401), answer.content
        if "token_type" not in changes and "aud" not in changes:
            assert answer.status_code == 401


def part(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def test_an_unsigned_or_foreign_token_is_refused(nobody: ApiClient, person: User) -> None:
    good = claims_of(person)
    payload = part({"token_type": "access", "exp": 10**11, "jti": "x", **good})
    for token in (
        signed(algorithm=None, **good),
        signed(key="another key that is long enough to be one", **good),
        signed(algorithm="HS384", **good),
        signed(algorithm="HS512", **good),
        f"{part({'alg': 'none'})}.{payload}.",
        f"{part({'alg': 'None', 'typ': 'JWT'})}.{payload}.",
        f"{part({'alg': 'RS256'})}.{payload}.AAAA",
        f"{part({'alg': ['HS256']})}.{payload}.AAAA",
        f"{part(b'[' * 10_000)}.{payload}.AAAA",
        f"{part(b'')}.{payload}.AAAA",
        "a.b.c", "..", "a", "é.é.é", "\udc80", "x" * 15_000,
        signed(**good)[:-3],
        signed(**good | {"exp": int(time.time()) - 1}),
    ):  # fmt: skip
        if token.isascii():
            assert not opens(nobody, token), token[:80]
        body = json.dumps({"refresh": token}).encode()
        refused = nobody.ask("POST", "token/refresh/", body)
        assert refused.status_code == (400 if token == "\udc80" else 401)


def test_one_kind_of_token_does_not_pass_for_the_other(nobody: ApiClient, person: User) -> None:
    pair = login(nobody).json()
    assert not opens(nobody, pair["refresh"])
    assert refresh(nobody, pair["access"]).status_code == 401
    assert nobody.post("token/blacklist/", {"refresh": pair["access"]}).status_code == 401


def test_a_changed_password_ends_every_older_token(
    nobody: ApiClient, person: User, as_user: Callable[[User], ApiClient]
) -> None:
    old = login(nobody).json()
    body = {"old_password": PASSWORD, "new_password": "another good password"}
    changed = ApiClient(nobody.client, old["access"]).post("me/password/", body)
    assert changed.status_code == 200
    assert not opens(nobody, old["access"])
    assert refresh(nobody, old["refresh"]).status_code == 401
    new = changed.json()
    assert opens(nobody, new["access"])
    assert refresh(nobody, new["refresh"]).status_code == 200
    assert login(nobody).status_code == 401
    assert login(nobody, password="another good password").status_code == 200


@pytest.mark.parametrize("change", ["delete", "disable"])
def test_a_deleted_or_disabled_user_has_no_tokens(
    nobody: ApiClient, person: User, change: str
) -> None:
    pair = login(nobody).json()
    if change == "delete":
        person.delete()
    else:
        User.objects.update(is_active=False)
    assert not opens(nobody, pair["access"])
    refused = refresh(nobody, pair["refresh"])
    assert refused.status_code == 401
    assert refused.json()["code"] == "token_not_valid"
    assert nobody.post("token/blacklist/", {"refresh": pair["refresh"]}).status_code == 401


@pytest.mark.parametrize("change", ["delete", "disable", "password"])
def test_the_token_of_a_deleted_disabled_or_changed_user_submits_nothing(
    nobody: ApiClient, person: User, change: str
) -> None:
    """The statement that accepts one task also checks the token."""
    access = login(nobody).json()["access"]
    lifecycle.open_quota(person.pk)
    if change == "delete":
        person.delete()
    elif change == "disable":
        User.objects.update(is_active=False)
    else:
        person.set_password("another password")
        person.save()
    sum_of_one = {"task_type": "sum", "input_data": {"numbers": [1]}}
    for path, body in (("create/", sum_of_one), ("bulk/", {"tasks": [sum_of_one]})):
        refused = nobody.post(f"tasks/{path}", body, Authorization=f"Bearer {access}")
        assert (refused.status_code, refused.json()["code"]) == (401, "token_not_valid")
    assert not Task.objects.exists()


def test_a_token_is_verified_of_either_kind(nobody: ApiClient, person: User) -> None:
    pair = login(nobody).json()
    for token in pair.values():
        assert nobody.post("token/verify/", {"token": token, "x": 1}).status_code == 200
        refused = nobody.post("token/verify/", {"token": token + "x"})
        assert refused.status_code == 401
        assert list(refused.json()) == ["detail", "code"]
    assert nobody.post("token/verify/", {}).status_code == 400
    nobody.post("token/blacklist/", {"refresh": pair["refresh"]})
    assert nobody.post("token/verify/", {"token": pair["refresh"]}).status_code == 401
    assert nobody.post("token/verify/", {"token": pair["access"]}).status_code == 200
    User.objects.update(is_active=False)
    assert nobody.post("token/verify/", {"token": pair["access"]}).status_code == 401


def test_logging_out_ends_the_refresh_token_and_may_be_repeated(
    nobody: ApiClient, person: User
) -> None:
    pair = login(nobody).json()
    other = login(nobody).json()
    for _ in range(2):
        assert nobody.post("token/blacklist/", {"refresh": pair["refresh"]}).status_code == 200
    assert refresh(nobody, pair["refresh"]).status_code == 401
    assert refresh(nobody, other["refresh"]).status_code == 200


@pytest.mark.parametrize("body", [{}, {"refresh": None}, {"refresh": 5}, {"refresh": []}, [1]])
@pytest.mark.parametrize("path", ["token/refresh/", "token/blacklist/"])
def test_a_missing_refresh_token_is_400(nobody: ApiClient, path: str, body: Any) -> None:
    assert nobody.post(path, body).status_code == 400


def test_what_is_recorded_of_tokens_opens_nothing(nobody: ApiClient, person: User) -> None:
    login(nobody)
    assert OutstandingToken.objects.get().token == ""


def test_answers_with_tokens_are_for_no_cache(nobody: ApiClient, person: User) -> None:
    answer = login(nobody)
    assert answer.headers["Cache-Control"] == "no-store"
    assert refresh(nobody, answer.json()["refresh"]).headers["Cache-Control"] == "no-store"


def test_without_rotation_a_refresh_token_serves_again(nobody: ApiClient, person: User) -> None:
    token = login(nobody).json()["refresh"]
    for _ in range(2):
        assert list(refresh(nobody, token).json()) == ["access"]


def test_a_rotated_token_is_good_once_and_its_reuse_ends_the_family(
    nobody: ApiClient, person: User, settings: Any
) -> None:
    configure(settings, ROTATE_REFRESH=True)
    first = login(nobody).json()["refresh"]
    other_device = login(nobody).json()["refresh"]
    second = refresh(nobody, first).json()["refresh"]
    third = refresh(nobody, second).json()["refresh"]
    assert refresh(nobody, first).status_code == 401
    for token in (third, second, other_device):
        assert refresh(nobody, token).status_code == 401
    assert login(nobody).status_code == 200


def rotated_seconds_ago(seconds: int) -> None:
    """Move every rotation back by these seconds."""
    for row in BlacklistedToken.objects.all():
        row.blacklisted_at -= timedelta(seconds=seconds)
        row.save()


def test_a_token_rotated_a_moment_ago_gets_the_same_pair_again(
    nobody: ApiClient, person: User, settings: Any
) -> None:
    """A lost response logs no user out."""
    configure(settings, ROTATE_REFRESH=True)
    token = login(nobody).json()["refresh"]
    pair = refresh(nobody, token).json()
    rotated_seconds_ago(5)
    assert refresh(nobody, token).json() == pair
    assert opens(nobody, pair["access"])
    following = refresh(nobody, pair["refresh"])
    assert following.status_code == 200
    assert following.json()["refresh"] != pair["refresh"]


@pytest.mark.parametrize("grace", [10, 0])
def test_a_token_rotated_longer_ago_ends_the_family(
    nobody: ApiClient, person: User, settings: Any, grace: int
) -> None:
    configure(settings, ROTATE_REFRESH=True)
    configure(settings, ROTATE_GRACE_SECONDS=grace)
    token, other_device = (login(nobody).json()["refresh"] for _ in range(2))
    second = refresh(nobody, token).json()["refresh"]
    rotated_seconds_ago(grace + 1)
    for each in (token, second, other_device):
        assert refresh(nobody, each).status_code == 401


def test_a_token_that_was_logged_out_gets_no_pair(
    nobody: ApiClient, person: User, settings: Any
) -> None:
    configure(settings, ROTATE_REFRESH=True)
    token = login(nobody).json()["refresh"]
    nobody.post("token/blacklist/", {"refresh": token})
    assert refresh(nobody, token).status_code == 401
    token = login(nobody).json()["refresh"]
    second = refresh(nobody, token).json()["refresh"]
    nobody.post("token/blacklist/", {"refresh": second})
    assert refresh(nobody, token).status_code == 401


@pytest.mark.django_db(transaction=True)
def test_a_hundred_rotations_at_once_give_one_pair(
    nobody: ApiClient, person: User, settings: Any
) -> None:
    configure(settings, ROTATE_REFRESH=True)
    token = login(nobody).json()["refresh"]

    def attempt(_: int) -> Any:
        try:
            return refresh(nobody, token)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(attempt, range(100)))
    assert {answer.status_code for answer in answers} == {200}
    (pair,) = {tuple(answer.json().values()) for answer in answers}
    assert OutstandingToken.objects.count() == 2
    assert BlacklistedToken.objects.count() == 1
    assert refresh(nobody, pair[1]).status_code == 200
    assert refresh(nobody, token).status_code == 401


@pytest.mark.parametrize("ahead", ["iat", "nbf"])
def test_a_token_of_a_clock_ahead_of_ours_is_accepted(
    nobody: ApiClient, person: User, ahead: str
) -> None:
    now, claims = int(time.time()), claims_of(person)
    assert opens(nobody, signed(**claims, **{ahead: now + 5}))
    assert not opens(nobody, signed(**claims, **{ahead: now + 60}))
    assert not opens(nobody, signed(**claims, exp=now - 1))
    later = {"token_type": "refresh", ahead: now + 5}
    assert refresh(nobody, signed(**claims | later)).status_code == 200
    assert refresh(nobody, signed(**claims | later | {ahead: now + 60})).status_code == 401
    assert refresh(nobody, signed(**claims | later | {"exp": now - 1})).status_code == 401
