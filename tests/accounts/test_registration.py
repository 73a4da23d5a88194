"""Registration: allowed names and passwords, and two requests at the same time."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import pytest
from django.db import connection, connections
from django.test.client import encode_multipart

from taskyard.accounts.models import User
from taskyard.core.models import Quota
from tests.api_client import ApiClient

GOOD = "correct horse battery"
JSON = "application/json"
FORMS = (JSON, "application/x-www-form-urlencoded", "multipart/form-data; boundary=frontier")


def form(kind: str, fields: dict[str, str]) -> bytes:
    if kind == JSON:
        return json.dumps(fields).encode()
    if kind == FORMS[1]:
        return urlencode(fields).encode()
    return encode_multipart("frontier", fields)


def register(nobody: ApiClient, username: Any, password: Any = GOOD, **more: Any) -> Any:
    return nobody.post("register/", {"username": username, "password": password, **more})


def test_a_new_user_has_a_quota_account_and_a_hash_of_argon2(nobody: ApiClient) -> None:
    assert register(nobody, "newuser").status_code == 201
    user = User.objects.get()
    assert user.password.startswith("argon2$argon2id$")
    assert Quota.objects.get().user_id == user.pk
    assert not user.is_staff


@pytest.mark.parametrize(
    "name", ["аня", "José", "user@example.com", "a+b-c.d_e", "x" * 150, "用户"]
)
def test_names_may_be_of_any_script(nobody: ApiClient, name: str) -> None:
    created = register(nobody, name)
    assert created.status_code == 201
    assert created.json()["username"] == name


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", " a", "a\n", "a\tb", "a\u0007", "a\u202eb", "a\u2066b", "a\u200db", "a\u200b",
     "\ufeffa", "a\u0000", "x" * 151, "ﷺ" * 60, "a\u3164", "\u115f", "a/b",
     "<img onerror=1>", "a'b",
     "\ud83d\ude00", None, 5, True, [], {}],
    ids=ascii,
)  # fmt: skip
def test_a_name_that_would_deceive_or_break_is_refused(nobody: ApiClient, name: Any) -> None:
    refused = register(nobody, name)
    assert refused.status_code == 400
    assert list(refused.json()) == ["username"]
    assert not User.objects.exists()


@pytest.mark.parametrize(
    "twin", ["newuser", "NEWUSER", "NewUser", "\uff4eewuser", "newu\u017fer", "ⓝewuser"], ids=ascii
)
def test_a_twin_of_a_name_is_refused(nobody: ApiClient, twin: str) -> None:
    assert register(nobody, "newuser").status_code == 201
    refused = register(nobody, twin)
    assert refused.status_code == 400
    assert refused.json() == {"username": ["Это имя пользователя уже занято."]}


def test_one_can_log_in_by_any_form_of_the_name(nobody: ApiClient) -> None:
    register(nobody, "Straße")
    for name in ("Straße", "strasse", "STRASSE"):
        assert nobody.post("token/", {"username": name, "password": GOOD}).status_code == 200


@pytest.mark.parametrize("password", ["1", "", "1234567", "1234567890", "newuser1", None, 5, []])
def test_a_weak_password_is_refused(nobody: ApiClient, password: Any) -> None:
    refused = register(nobody, "newuser", password)
    assert refused.status_code == 400
    assert list(refused.json()) == ["password"]


def test_why_a_password_is_refused_is_said_in_both_languages_and_forms(nobody: ApiClient) -> None:
    body = {"username": "newuser", "password": "123"}
    russian = nobody.post("register/", body).json()
    assert "слишком короткий" in russian["password"][0]
    problem = nobody.post(
        "register/", body, Accept="application/problem+json", Accept_Language="en"
    ).json()
    assert [error["code"] for error in problem["errors"]] == [
        "password_too_short",
        "password_entirely_numeric",
    ]


@pytest.mark.parametrize("length", [129, 15_000])
def test_a_long_password_is_a_bad_password(nobody: ApiClient, length: int) -> None:
    refused = register(nobody, "newuser", "x" * length)
    assert refused.status_code == 400
    assert list(refused.json()) == ["password"]


@pytest.mark.parametrize(
    "path",
    ["register/", "token/", "token/refresh/", "token/blacklist/", "token/verify/", "me/password/"],
)
@pytest.mark.parametrize("kind", FORMS)
def test_an_account_is_told_in_16_kib(
    nobody: ApiClient, api: ApiClient, path: str, kind: str
) -> None:
    if path == "me/password/" and kind != JSON:
        return
    refused = (api if path == "me/password/" else nobody).ask(
        "POST", path, b" " * (16 * 1024 + 1), content_type=kind
    )
    assert refused.status_code == 413
    assert refused.json()["code"] == "too_large"


def test_a_name_is_measured_before_it_is_normalized(nobody: ApiClient) -> None:
    refused = register(nobody, "\ufdfa" * 2000)  # each becomes 18 characters
    assert refused.status_code == 400
    assert "150" in refused.json()["username"][0]


@pytest.mark.parametrize("kind", FORMS[1:])
def test_forms_are_read_as_json_is(nobody: ApiClient, kind: str) -> None:
    fields = {"username": "аня", "password": "сложный пароль +&=%", "is_staff": "on", "x": "y"}
    created = nobody.ask("POST", "register/", form(kind, fields), content_type=kind)
    assert created.status_code == 201, created.content
    pair = nobody.ask("POST", "token/", form(kind, fields), content_type=kind).json()
    refreshed = nobody.ask("POST", "token/refresh/", form(kind, pair), content_type=kind)
    assert list(refreshed.json()) == ["access"]
    ended = nobody.ask("POST", "token/blacklist/", form(kind, pair), content_type=kind)
    assert ended.status_code == 200
    assert not User.objects.get().is_staff


@pytest.mark.parametrize("kind", FORMS[1:])
@pytest.mark.parametrize(
    "fields",
    [
        {}, {"username": "a"}, {"username": "a\0b", "password": GOOD}, {"user": "a"},
        {f"k{number}": "v" for number in range(200)},
    ],
)  # fmt: skip
def test_a_wrong_form_is_refused_at_its_fields(
    nobody: ApiClient, kind: str, fields: dict[str, str]
) -> None:
    for path in ("register/", "token/"):
        refused = nobody.ask("POST", path, form(kind, fields), content_type=kind)
        assert refused.status_code == 400


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded", b"username=a&username=b&password=" + b"x" * 10),
        ("application/x-www-form-urlencoded", b"username=%FF&password=" + b"x" * 10),
        ("application/x-www-form-urlencoded", b"username=\xff&password=" + b"x" * 10),
        ("application/x-www-form-urlencoded", b"{}"),
        ("multipart/form-data", b"--x--"),
        ("multipart/form-data; boundary=x", b"--y\r\n\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\na"),
        ("multipart/form-data; boundary=" + "x" * 100, b""),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="username"; filename="a"\r\n\r\n'
            b"a\r\n--x--",
        ),
    ],
)
def test_what_is_no_form_is_refused(nobody: ApiClient, kind: str, body: bytes) -> None:
    assert nobody.ask("POST", "register/", body, content_type=kind).status_code == 400


def test_forms_are_for_accounts_only(api: ApiClient) -> None:
    for kind in FORMS[1:]:
        assert api.ask("POST", "tasks/create/", b"a=b", content_type=kind).status_code == 415
    long = "multipart/form-data; boundary=" + "x" * 300
    assert api.ask("POST", "register/", b"a=b", content_type=long).status_code == 415


def test_a_password_of_128_characters_is_accepted(nobody: ApiClient) -> None:
    assert register(nobody, "newuser", "пароль🔑" * 18).status_code == 201


@pytest.mark.parametrize("kind", FORMS)
def test_nothing_else_can_be_set(nobody: ApiClient, kind: str) -> None:
    more = {"is_staff": "1", "is_superuser": "1", "id": "77", "email": "a@b.cd", "is_active": ""}
    body = form(kind, {"username": "newuser", "password": GOOD, "password2": "x", **more})
    assert nobody.ask("POST", "register/", body, content_type=kind).status_code == 201
    user = User.objects.get()
    assert (user.is_staff, user.is_superuser, user.email, user.is_active) == (
        False,
        False,
        "",
        True,
    )
    assert user.pk != 77


@pytest.mark.django_db(transaction=True)
def test_of_twins_at_the_same_moment_one_gets_the_name(nobody: ApiClient) -> None:
    def attempt(name: str) -> int:
        try:
            return int(register(nobody, name).status_code)
        finally:
            connections.close_all()

    names = ["twin", "TWIN", "Twin", "tWin", "twIn", "twiN"]
    with ThreadPoolExecutor(len(names)) as pool:
        statuses = sorted(pool.map(attempt, names))
    assert statuses == [201, 400, 400, 400, 400, 400]
    assert User.objects.count() == Quota.objects.count() == 1
    connection.close()


def test_bulk_made_users_have_their_key(db: None) -> None:
    User.objects.bulk_create([User(username="A"), User(username="B")])
    assert set(User.objects.values_list("username_key", flat=True)) == {"a", "b"}
