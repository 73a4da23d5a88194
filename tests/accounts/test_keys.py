"""API keys: made once, kept as a hash, refused at once."""

import hashlib
import logging
import os
import re
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from taskyard.accounts import credentials, keys, rate_limit, suspension
from taskyard.accounts.models import ApiKey, User
from taskyard.accounts.new_key import NewKey
from taskyard.accounts.scopes import Scope
from taskyard.core import lifecycle
from taskyard.core.models import AuditEntry, Quota, Task
from tests.api_client import ApiClient

SUM = {"task_type": "sum", "input_data": {"numbers": [1]}}
BOTH = ["tasks:submit", "tasks:read"]
# How many requests are in flight when a key is revoked.
IN_FLIGHT = int(os.environ.get("TEST_REVOKE_REQUESTS", "50"))


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process that has just started."""
    monkeypatch.setattr(keys, "_remembered", keys.Remembered(keys.REMEMBERED))
    monkeypatch.setattr(keys, "_noted", {})


def made(api: ApiClient, **changes: Any) -> Any:
    answer = api.post("keys/", {"name": "ci", "scopes": BOTH, **changes})
    assert answer.status_code == 201, answer.content
    return answer.json()


def client_of(api: ApiClient, key: str) -> ApiClient:
    return ApiClient(api.client, key)


def test_a_key_is_shown_once(api: ApiClient) -> None:
    answer = api.post("keys/", {"name": "ci", "scopes": BOTH})
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    key = answer.json()
    assert list(key) == [
        *("id", "name", "prefix", "scopes", "task_types"),
        *("created_at", "expires_at", "last_used_at", "key"),
    ]
    assert (key["name"], key["scopes"], key["task_types"]) == ("ci", BOTH, None)
    assert (key["expires_at"], key["last_used_at"]) == (None, None)
    text = key.pop("key")
    assert text.startswith(f"ty_{key['prefix']}_")
    listed = api.get("keys/")
    assert listed.json() == [key]
    assert text not in listed.content.decode()


def test_options_of_a_key_are_kept(api: ApiClient) -> None:
    later = "2999-01-01T03:00:00+03:00"
    key = made(
        api, scopes=["files", "files", "schedules"], task_types=["sum", "sum"], expires_at=later
    )
    assert (key["scopes"], key["task_types"]) == (["files", "schedules"], ["sum"])
    assert key["expires_at"] == "2999-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("name", "", "string_too_short"), ("name", "  ", "string_too_short"),
        ("name", "x" * 101, "string_too_long"), ("name", "a\u202eb", "invalid_characters"),
        ("name", "a\nb", "invalid_characters"), ("name", 5, "string_type"),
        ("name", None, "string_type"),
        ("scopes", [], "too_short"), ("scopes", "files", "list_type"),
        ("scopes", None, "list_type"),
        ("scopes/0", ["admin"], "enum"), ("scopes/0", [5], "enum"), ("scopes/0", [[]], "enum"),
        ("scopes", ["files"] * 7, "too_long"),
        ("task_types", [], "too_short"), ("task_types/1", ["sum", "nope"], "unknown_task_type"),
        ("task_types", "sum", "list_type"), ("task_types", ["sum"] * 101, "too_long"),
        ("expires_at", "2001-01-01T00:00:00Z", "not_in_future"),
        ("expires_at", "2999-01-01T00:00:00", "timezone_aware"),
        ("expires_at", 5, "datetime_type"), ("expires_at", "soon", "datetime_type"),
        ("key", "mine", "extra_forbidden"), ("user", 1, "extra_forbidden"),
        ("prefix", "mine", "extra_forbidden"),
    ],
)  # fmt: skip
def test_a_bad_key_is_refused_at_its_place(
    api: ApiClient, field: str, value: Any, code: str
) -> None:
    body = {"name": "ci", "scopes": BOTH, field.split("/")[0]: value}
    refused = api.post("keys/", body, Accept="application/problem+json")
    assert refused.status_code == 400
    (error,) = refused.json()["errors"]
    assert (error["pointer"], error["code"]) == (f"/{field}", code)
    assert not ApiKey.objects.exists()


def test_all_that_is_wrong_is_reported_at_once(api: ApiClient) -> None:
    body = {"name": "", "scopes": ["x", "files"], "task_types": ["nope"], "expires_at": "x"}
    assert set(api.post("keys/", body).json()) == {"name", "scopes", "task_types", "expires_at"}
    assert set(api.post("keys/", {}).json()) == {"name", "scopes"}


def test_a_user_has_at_most_100_keys(api: ApiClient, user: User, other: ApiClient) -> None:
    ApiKey.objects.bulk_create(
        ApiKey(user=user, name="x", prefix=f"{n:08}", digest=f"{n:064}", scopes=["files"])
        for n in range(keys.MOST_KEYS)
    )
    refused = api.post("keys/", {"name": "ci", "scopes": BOTH})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_keys")
    made(other)
    ApiKey.objects.get(user=user, prefix="00000000").delete()
    made(api)


def test_keys_are_limited_by_the_hour(
    api: ApiClient, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "KEYS", (2, 3600))
    counter = secrets.token_hex(8)
    monkeypatch.setattr(rate_limit, "_key", lambda *parts: counter)
    for _ in range(2):
        assert api.ask("DELETE", f"keys/{made(api)['id']}/").status_code == 204
    refused = api.post("keys/", {"name": "ci", "scopes": BOTH})
    assert (refused.status_code, refused.json()["code"]) == (429, "throttled")
    assert int(refused.headers["Retry-After"]) > 3500
    assert AuditEntry.objects.filter(action="create_key").count() == 2
    page = Client(headers={"Accept-Language": "en"})
    page.force_login(user)
    answer = page.post("/keys/", {"name": "ci", "scopes": BOTH, "expires": "90"})
    assert answer.status_code == 429
    assert 'id="new-key"' not in answer.text
    assert not ApiKey.objects.exists()


def test_a_key_works_where_a_token_does(api: ApiClient) -> None:
    client = client_of(api, made(api)["key"])
    task = client.create()
    assert task.status_code == 201
    assert [each["id"] for each in client.get("tasks/").json()["results"]] == [task.json()["id"]]
    assert api.get(f"tasks/{task.json()['id']}/").status_code == 200


def test_a_create_with_a_known_key_is_one_statement_as_with_a_token(
    api: ApiClient, user: User
) -> None:
    client = client_of(api, made(api)["key"])
    lifecycle.open_quota(user.pk)

    def statements(asking: ApiClient) -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            assert asking.create().status_code == 201
        return [query["sql"].split()[0] for query in queries]

    statements(client)  # which asks once what the key may do, and notes its use
    assert statements(client) == statements(api)


def test_another_request_is_one_query_more_than_its_own(api: ApiClient) -> None:
    client = client_of(api, made(api)["key"])
    client.get("task-types/")
    with CaptureQueriesContext(connection) as queries:
        assert client.get("task-types/").status_code == 200
    assert len(queries) == 1


def test_the_database_has_no_key(api: ApiClient) -> None:
    text = made(api)["key"]
    secret = text.rpartition("_")[2]
    client_of(api, text).create()
    row = ApiKey.objects.get()
    assert row.digest == hashlib.sha256(text.encode()).hexdigest()
    tables = connection.introspection.table_names()
    with connection.cursor() as cursor:
        for name in tables:
            cursor.execute(f'SELECT * FROM "{name}"')
            assert secret not in str(cursor.fetchall()), name
    assert any("apikey" in name for name in tables)


def test_the_log_has_no_key(api: ApiClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    text = made(api)["key"]
    client = client_of(api, text)
    client.create()
    client.get("me/")
    client.get("tasks/nope/")
    client_of(api, text[:-1] + "g").get("tasks/")
    assert text[:40] not in caplog.text


def test_scanners_can_find_a_key(api: ApiClient) -> None:
    texts = {made(api)["key"] for _ in range(10)}
    assert len(texts) == 10
    assert all(re.fullmatch(r"ty_[a-z0-9]{8}_[0-9a-f]{64}", text) for text in texts)


def flipped(text: str) -> str:
    """The key with its last digit changed."""
    return text[:-1] + ("0" if text[-1] != "0" else "1")


def test_every_bad_key_gets_the_same_answer(
    api: ApiClient, nobody: ApiClient, user: User, new_user: Any
) -> None:
    good, revoked, expired = (made(api, name=name) for name in ("good", "revoked", "expired"))
    assert api.ask("DELETE", f"keys/{revoked['id']}/").status_code == 204
    ApiKey.objects.filter(id=expired["id"]).update(
        expires_at=timezone.now() - timedelta(minutes=10)
    )
    suspended = new_user("suspended")
    theirs = keys.create(suspended, NewKey(name="x", scopes=[Scope.TASKS_READ]))[1]
    suspension.suspend(suspended, by=new_user("boss", is_staff=True, is_superuser=True))
    unknown = f"ty_{'a' * 8}_{'0' * 64}"
    bad = [
        *(revoked["key"], expired["key"], theirs, unknown, flipped(good["key"])),
        *("ty_", "ty_x", good["key"] + "0", good["key"].upper(), "not.a.token"),
        good["key"].replace("ty_", "ty_ä"),
    ]
    answers = set()
    for text in bad:
        for path in ("tasks/", "me/", "tasks/events/", "keys/"):
            answer = nobody.get(path, Authorization=f"Bearer {text}")
            answers.add((answer.status_code, answer.content, answer.headers["WWW-Authenticate"]))
        answer = nobody.post("tasks/create/", SUM, Authorization=f"Bearer {text}")
        answers.add((answer.status_code, answer.content, answer.headers["WWW-Authenticate"]))
    ((status, body, challenge),) = answers
    assert (status, challenge) == (401, 'Bearer realm="api"')
    assert b"token_not_valid" in body
    assert not Task.objects.exists()
    assert client_of(nobody, good["key"]).get("tasks/").status_code == 200


def test_a_revoked_key_is_refused_by_a_process_that_knows_it(api: ApiClient) -> None:
    key = made(api)
    client = client_of(api, key["key"])
    assert client.create().status_code == 201
    assert client.get("tasks/").status_code == 200
    assert api.ask("DELETE", f"keys/{key['id']}/").status_code == 204
    assert keys.recall(key["key"]) is not None
    asked = [
        client.create(), client.get("tasks/"), client.get("me/"), client.post("keys/", {}),
        client.post("tasks/bulk/", {"tasks": [SUM]}), client.get("limits/"),
        client.get("task-types/"),
        client.post("tasks/create/", SUM, Idempotency_Key="x"), client.get("files/"),
    ]  # fmt: skip
    assert {answer.status_code for answer in asked} == {401}
    assert Task.objects.count() == 1


def test_a_key_expires_while_a_process_knows_it(api: ApiClient) -> None:
    client = client_of(api, made(api, expires_at="2999-01-01T00:00:00Z")["key"])
    assert client.create().status_code == 201
    # Before the transaction of the test began.
    ApiKey.objects.update(expires_at=timezone.now() - timedelta(minutes=10))
    assert client.create().status_code == 401
    assert client.get("tasks/").status_code == 401
    ApiKey.objects.update(expires_at=timezone.now() + timedelta(seconds=30))
    assert client.create().status_code == 201
    assert client.get("tasks/").status_code == 200


def test_a_key_is_refused_while_its_user_is_suspended_and_survives_a_new_password(
    api: ApiClient, user: User, as_user: Callable[[User], ApiClient]
) -> None:
    client = client_of(api, made(api)["key"])
    user.set_password("another good password")
    user.save()
    assert client.create().status_code == 201
    User.objects.update(is_active=False)
    assert client.create().status_code == client.get("tasks/").status_code == 401
    User.objects.update(is_active=True)
    assert client.create().status_code == 201
    user.delete()
    assert client.create().status_code == client.get("tasks/").status_code == 401
    assert not ApiKey.objects.exists()


def test_only_the_own_keys_are_listed_and_revoked(api: ApiClient, other: ApiClient) -> None:
    key = made(api)
    assert other.get("keys/").json() == []
    for client, path in ((other, key["id"]), (api, 2**62), (api, 10**18), (api, 2**63)):
        refused = client.ask("DELETE", f"keys/{path}/")
        assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert api.ask("DELETE", f"keys/{key['id']}").status_code == 204
    assert api.ask("DELETE", f"keys/{key['id']}").status_code == 404


def test_the_use_of_a_key_is_noted_at_most_once_a_minute(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(api, made(api)["key"])
    assert ApiKey.objects.get().last_used_at is None
    client.create()
    first = ApiKey.objects.get().last_used_at
    assert first is not None
    assert timedelta() <= timezone.now() - first < timedelta(minutes=1)
    with CaptureQueriesContext(connection) as queries:
        client.get("task-types/")
    assert not [query for query in queries if query["sql"].startswith("UPDATE")]
    # Another process, in the same minute and in the next one.
    monkeypatch.setattr(keys, "_noted", {})
    client.get("task-types/")
    assert ApiKey.objects.get().last_used_at == first
    ApiKey.objects.update(last_used_at=first - timedelta(minutes=2))
    monkeypatch.setattr(keys, "_noted", {})
    client.get("task-types/")
    assert ApiKey.objects.filter(last_used_at__gte=first).exists()
    assert api.get("keys/").json()[0]["last_used_at"] is not None


def test_a_refused_key_is_not_noted(api: ApiClient) -> None:
    key = made(api)
    ApiKey.objects.update(expires_at=datetime(2001, 1, 1, tzinfo=UTC))
    assert client_of(api, key["key"]).get("tasks/").status_code == 401
    assert ApiKey.objects.get().last_used_at is None


def test_making_and_revoking_leave_lines_in_the_audit(api: ApiClient, user: User) -> None:
    key = made(api)
    api.ask("DELETE", f"keys/{key['id']}/")
    lines = AuditEntry.objects.order_by("id").values_list("by_id", "action", "target", "details")
    assert list(lines) == [
        (user.pk, "create_key", key["prefix"], {"name": "ci"}),
        (user.pk, "revoke_key", key["prefix"], {"name": "ci"}),
    ]


def test_an_event_loop_knows_the_owner_without_the_database(api: ApiClient, user: User) -> None:
    text = made(api)["key"]
    with CaptureQueriesContext(connection) as queries:
        assert credentials.recall(f"Bearer {text}") is None
        client_of(api, text).get("tasks/")
    before = len(queries)
    with CaptureQueriesContext(connection) as queries:
        known = credentials.recall(f"Bearer {text}")
    assert known is not None
    assert known.claim.user_id == user.pk
    assert before > len(queries) == 0


def test_a_process_remembers_the_keys_it_saw_last(api: ApiClient) -> None:
    remembered = keys.Remembered(2)
    first, second, third = (keys.claims_of(made(api)["key"]) for _ in range(3))
    for claims in (first, second):
        remembered.add(claims)
    assert remembered.get(first.digest) is first
    remembered.add(third)
    assert remembered.get(second.digest) is None
    assert remembered.get(first.digest) is first


def test_a_key_is_no_token_to_verify_and_no_refresh(api: ApiClient, nobody: ApiClient) -> None:
    text = made(api)["key"]
    assert nobody.post("token/verify/", {"token": text}).status_code == 401
    assert nobody.post("token/refresh/", {"refresh": text}).status_code == 401


def test_staff_see_keys_in_the_admin_and_change_none(
    api: ApiClient, nobody: ApiClient, new_user: Any, client: Client
) -> None:
    key = made(api)
    client.force_login(new_user("boss", is_staff=True, is_superuser=True))
    base = "/admin/taskyard_accounts/apikey/"
    digest = ApiKey.objects.get().digest
    for path in (base, f"{base}{key['id']}/change/"):
        page = client.get(path)
        assert page.status_code == 200
        assert key["prefix"] in page.content.decode()
        assert digest not in page.content.decode()
    for path in (f"{base}add/", f"{base}{key['id']}/delete/"):
        assert client.get(path).status_code == 403
    owner = ApiKey.objects.get().user_id
    deleted = client.post(f"/admin/taskyard_accounts/user/{owner}/delete/", {"post": "yes"})
    assert deleted.status_code == 302
    assert not ApiKey.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_no_request_that_begins_after_a_revoke_is_accepted(api: ApiClient, user: User) -> None:
    """Requests begin all the time, in threads, while the key is revoked."""
    Quota.objects.update(active_limit=10**6)
    key = made(api)
    revoked = threading.Event()
    begun = threading.Semaphore(0)

    def submit(number: int) -> tuple[bool, int]:
        try:
            client = ApiClient(Client(), key["key"])
            begins_after = revoked.is_set()
            begun.release()
            if number % 2:
                return begins_after, client.create().status_code
            return begins_after, client.get("limits/").status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(submit, number) for number in range(2 * IN_FLIGHT)]
        for _ in range(IN_FLIGHT):
            begun.acquire()
        assert api.ask("DELETE", f"keys/{key['id']}/").status_code == 204
        revoked.set()
        results = [answer.result() for answer in answers]
    assert {status for _, status in results} <= {200, 201, 401}
    after = [status for begins_after, status in results if begins_after]
    assert set(after) == {401}
    assert {status for _, status in results} >= {200, 201}
    assert Task.objects.count() == sum(status == 201 for _, status in results)
