"""A service account asks on behalf of its subjects: each has tasks and a quota of its own."""

import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.files.storage import storages
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from rest_framework.request import Request

from taskyard.accounts import keys, subject_tokens, subjects, suspension
from taskyard.accounts.authentication import ClaimAuthentication
from taskyard.accounts.models import ServiceAccount, Subject, User
from taskyard.accounts.new_key import NewKey
from taskyard.accounts.scopes import Scope
from taskyard.api.views.base import owner_id_of
from taskyard.api.views.base import user_of as user_of_request
from taskyard.core import quotas
from taskyard.core.models import AuditEntry, Quota, Task
from tests.api.test_events import check
from tests.api.test_scopes import TABLE, ask, file_of, ids_of
from tests.api_client import ApiClient
from tests.configured import configure
from tests.fake_worker import FakeWorker
from tests.service_accounts import Backend, new_account, new_backend, new_key, statements

SUM = {"task_type": "sum", "input_data": {"numbers": [1]}}
SUBJECTS = int(os.environ.get("SUBJECTS", "6"))
BURST = int(os.environ.get("BURST", "10"))
# These make nothing of a subject, and refuse the header.
NOT_OF_A_SUBJECT = {"GET subjects/", "POST subjects/{name}/token/"}
# All that the token of a subject opens; the streams need an ASGI server.
OF_A_TOKEN = {
    "GET tasks/": 200,
    "GET tasks/{task_id}/": 200,
    "GET tasks/{task_id}/attempts/": 200,
    "GET tasks/{task_id}/logs/": 200,
    "GET tasks/{task_id}/events/": 406,
    "GET tasks/events/": 406,
    "GET limits/": 200,
    "GET task-types/": 200,
    "GET task-types/{name}/": 200,
}


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process that has just started."""
    monkeypatch.setattr(subjects, "_remembered", {})
    monkeypatch.setattr(keys, "_remembered", keys.Remembered(keys.REMEMBERED))


@pytest.fixture
def account(db: None) -> ServiceAccount:
    return new_account()


@pytest.fixture
def backend(account: ServiceAccount) -> Backend:
    return new_backend(account)


@pytest.fixture
def files(tmp_path: Any) -> Any:
    entry = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(tmp_path)},
    }
    with override_settings(STORAGES={**storages.backends, "taskyard": entry}):
        yield


def suspend(user: User) -> None:
    admin = User.objects.create_superuser(f"admin-{time.monotonic_ns()}", password="x")
    assert suspension.suspend(user, by=admin)


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def user_of(name: str) -> User:
    return Subject.objects.select_related("user").get(name=name).user


def test_a_task_belongs_to_the_subject(backend: Backend, account: ServiceAccount) -> None:
    first = backend.on_behalf_of("customer-17")
    task = first.create()
    assert (task.status_code, task.json()["subject"]) == (201, "customer-17")
    assert list(task.json())[-1] == "subject"
    assert Task.objects.get().owner == user_of("customer-17")
    path = f"tasks/{task.json()['id']}/"
    assert first.get(path).json() == task.json()
    assert [each["subject"] for each in first.get("tasks/").json()["results"]] == ["customer-17"]
    # The account itself, and another subject, see nothing of it.
    for other in (backend, backend.on_behalf_of("customer-18")):
        assert other.get(path).status_code == 404
        assert other.get("tasks/").json()["count"] == 0
    own = backend.create().json()
    assert "subject" not in own
    assert first.get(f"tasks/{own['id']}/").status_code == 404


def test_nobody_else_sees_the_word_subject(api: ApiClient) -> None:
    task = api.create().json()
    assert "subject" not in task
    assert all("subject" not in each for each in api.get("tasks/").json()["results"])
    assert api.get(f"tasks/{task['id']}/?fields=id,subject").json() == {"id": task["id"]}


def test_every_change_says_the_subject(backend: Backend) -> None:
    customer = backend.on_behalf_of("customer-17")
    path = f"tasks/{customer.create().json()['id']}/"
    shown = customer.get(path)
    assert customer.get(path, If_None_Match=shown.headers["ETag"]).status_code == 304
    assert customer.get(f"{path}?fields=subject").json() == {"subject": "customer-17"}
    cancelled = customer.post(f"{path}cancel/", If_Match=shown.headers["ETag"])
    assert (cancelled.status_code, cancelled.json()["subject"]) == (200, "customer-17")
    retried = customer.post(f"{path}retry/")
    assert (retried.status_code, retried.json()["subject"]) == (201, "customer-17")
    assert customer.post("tasks/bulk/", {"tasks": [SUM, SUM]}).status_code == 201
    assert Quota.objects.get(user=user_of("customer-17")).active == 3


def test_the_filter_is_the_same_as_the_header(backend: Backend) -> None:
    customer = backend.on_behalf_of("customer-17")
    customer.create()
    backend.create()
    by_header = customer.get("tasks/").json()
    by_filter = backend.get("tasks/?subject=customer-17").json()
    assert by_filter == by_header
    assert customer.get("tasks/?subject=customer-17").json()["results"] == by_header["results"]
    assert backend.get("tasks/?subject=customer-99").json()["count"] == 0
    assert not Subject.objects.filter(name="customer-99").exists()
    assert backend.get("tasks/?after=0&subject=customer-17").json()["results"]
    contradiction = customer.get("tasks/?subject=b", Accept="application/problem+json")
    (error,) = contradiction.json()["errors"]
    assert (error["pointer"], error["code"]) == ("/subject", "subject_and_header")
    assert refusal(backend.get("tasks/?subject=a,b")) == (400, "subject_invalid")
    suspend(user_of("customer-17"))
    assert refusal(backend.get("tasks/?subject=customer-17")) == (403, "subject_suspended")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "..", "x" * 101, "a, b", "é"])
def test_a_bad_name_is_a_400(backend: Backend, name: str) -> None:
    refused = backend.on_behalf_of(name).create()
    assert refusal(refused) == (400, "subject_invalid")
    assert "100" in refused.json()["detail"]
    assert not Subject.objects.exists()


def test_only_the_key_of_a_service_account_acts(
    api: ApiClient, user: User, nobody: ApiClient, backend: Backend
) -> None:
    key = keys.create(user, NewKey(name="x", scopes=[*Scope]))[1]
    for client in (api, ApiClient(api.client, key)):
        for path in ("tasks/create/", "tasks/bulk/"):
            assert refusal(client.post(path, SUM, On_Behalf_Of="x")) == (403, "on_behalf_refused")
    assert refusal(api.get("tasks/", On_Behalf_Of="x")) == (403, "on_behalf_refused")
    assert refusal(api.get("tasks/?subject=x")) == (403, "on_behalf_refused")
    assert refusal(api.get("subjects/")) == (403, "on_behalf_refused")
    assert refusal(api.post("subjects/x/token/")) == (403, "on_behalf_refused")
    assert nobody.get("tasks/", On_Behalf_Of="x").status_code == 401
    wrong = ApiClient(api.client, f"{str(backend.access)[:-1]}x")
    assert wrong.get("tasks/", On_Behalf_Of="x").status_code == 401
    assert not Subject.objects.exists()


def test_a_revoked_key_makes_no_subjects_and_no_tasks(
    backend: Backend, account: ServiceAccount
) -> None:
    known = backend.on_behalf_of("customer-17")
    known.create()
    (key,) = keys.of_user(account.user)
    keys.revoke(account.user, key.pk)
    for client in (known, backend.on_behalf_of("customer-18")):
        for answer in (client.create(), client.get("tasks/"), client.get("limits/")):
            assert answer.status_code == 401
    assert Subject.objects.count() == Task.objects.count() == 1


def test_a_suspended_account_and_a_suspended_subject_do_nothing(
    backend: Backend, account: ServiceAccount
) -> None:
    first, second = backend.on_behalf_of("one"), backend.on_behalf_of("two")
    first.create()
    second.create()
    suspend(user_of("one"))
    for answer in (
        first.create(),
        first.get("tasks/"),
        first.post("tasks/bulk/", {"tasks": [SUM]}),
    ):
        assert refusal(answer) == (403, "subject_suspended")
    assert refusal(backend.post("subjects/one/token/")) == (403, "subject_suspended")
    assert second.create().status_code == 201
    suspend(account.user)
    for answer in (second.create(), second.get("tasks/"), backend.get("subjects/")):
        assert answer.status_code == 401
    assert Task.objects.count() == 3


def test_a_deleted_subject_is_made_again(backend: Backend) -> None:
    customer = backend.on_behalf_of("customer-17")
    customer.create()
    first = user_of("customer-17")
    first.delete()
    assert customer.create().status_code == 201
    assert customer.get("limits/").json()["active"] == 1
    assert Quota.objects.get(user=user_of("customer-17")).active == 1


def test_a_create_for_a_known_subject_is_one_statement(backend: Backend, api: ApiClient) -> None:
    customer = backend.on_behalf_of("customer-17")
    customer.create()
    customer.create()
    assert statements(customer) == statements(backend) == statements(api)
    with CaptureQueriesContext(connection) as queries:
        assert customer.get("limits/").status_code == 200
    with CaptureQueriesContext(connection) as of_account:
        assert backend.get("limits/").status_code == 200
    assert len(queries) == len(of_account)


def test_quotas_are_the_subjects_own(backend: Backend, fake_worker: FakeWorker) -> None:
    first, second = backend.on_behalf_of("one"), backend.on_behalf_of("two")
    statuses = [first.create().status_code for _ in range(7)]
    assert statuses == [201] * 5 + [400] * 2
    assert second.create().status_code == 201
    quotas.change_limit(user_of("one").pk, 6, by_id=None)
    assert first.create().status_code == 201
    assert first.get("limits/").json()["active_limit"] == 6
    quotas.change_limit(user_of("two").pk, 0, by_id=None)
    assert refusal(second.create()) == (400, "active_limit_exceeded")
    assert backend.get("limits/").json()["active"] == 0


def test_idempotency_keys_are_the_subjects_own(backend: Backend) -> None:
    first, second = backend.on_behalf_of("one"), backend.on_behalf_of("two")
    ids = [each.post("tasks/", SUM, Idempotency_Key="k").json()["id"] for each in (first, second)]
    again = first.post("tasks/", SUM, Idempotency_Key="k")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.json()["id"], again.json()["subject"]) == (ids[0], "one")
    assert ids[0] != ids[1]


def test_files_are_the_subjects_own(backend: Backend, files: None) -> None:
    first, second = backend.on_behalf_of("one"), backend.on_behalf_of("two")
    file_id = file_of(first)
    assert first.get(f"files/{file_id}/content/").getvalue() == b"some text"
    for other in (second, backend):
        assert other.get(f"files/{file_id}/").status_code == 404
        assert other.get("files/").json()["count"] == 0


@pytest.mark.parametrize("request_line", TABLE)
def test_a_subject_is_apart_from_all_others(
    account: ServiceAccount, backend: Backend, files: None, settings: Any, request_line: str
) -> None:
    """Own, of another subject, of the account, of another account: only the first is found."""
    configure(settings, ACTIVE_LIMIT=1000)
    customer = backend.on_behalf_of("one")
    customer.get("limits/")
    found = ask(customer, request_line, ids_of(request_line, user_of("one"), customer))
    if found.streaming:
        found.getvalue()  # which closes the file
    if TABLE[request_line] == "none":
        assert refusal(found) == (403, "insufficient_scope")
        return
    if request_line in NOT_OF_A_SUBJECT:
        assert refusal(found) == (403, "on_behalf_refused")
        return
    assert found.status_code < 400 or found.status_code in (406, 409)
    if "_id}" not in request_line:
        return
    other = backend.on_behalf_of("two")
    other.get("limits/")
    stranger = new_backend(new_account("warehouse")).on_behalf_of("one")
    stranger.get("limits/")
    theirs = User.objects.get(username="warehouse/one")
    for client, user in ((other, user_of_two()), (backend, account.user), (stranger, theirs)):
        ids = ids_of(request_line, user, client)
        missing = ask(customer, request_line, ids)
        assert missing.status_code == 404
        none = dict.fromkeys(("task_id", "file_id"), 2**40)
        assert missing.content == ask(customer, request_line, none).content


def user_of_two() -> User:
    return User.objects.get(username="shop/two")


def test_the_list_of_subjects(backend: Backend, account: ServiceAccount) -> None:
    assert backend.get("subjects/").json()["results"] == []
    for name in ("one", "Two"):
        backend.on_behalf_of(name).create()
    new_backend(new_account("warehouse")).on_behalf_of("three").create()
    quotas.change_limit(user_of("one").pk, 9, by_id=None)
    suspend(user_of("Two"))
    page = backend.get("subjects/?page_size=1").json()
    assert page["count"] == 2
    (first,) = page["results"]
    assert list(first) == ["id", "name", "created_at", "suspended", "active", "active_limit"]
    assert [first[name] for name in ("name", "suspended", "active", "active_limit")] == [
        *("one", False, 1, 9)
    ]
    (second,) = backend.get(f"subjects/?after={first['id']}").json()["results"]
    assert [second[name] for name in ("name", "suspended", "active_limit")] == ["Two", True, 5]
    assert backend.get("subjects/?name=Two").json()["results"] == [second]
    assert backend.get("subjects/?colour=red").status_code == 400
    reader = new_backend(account, "tasks:submit")
    assert refusal(reader.get("subjects/")) == (403, "insufficient_scope")


def test_a_token_reads_the_tasks_of_its_subject_and_nothing_else(
    backend: Backend, account: ServiceAccount
) -> None:
    task_id = backend.on_behalf_of("one").create().json()["id"]
    answer = backend.post("subjects/one/token/")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert list(answer.json()) == ["access", "expires_at", "subject"]
    browser = ApiClient(backend.client, answer.json()["access"])
    shown = browser.get(f"tasks/{task_id}/")
    assert (shown.status_code, "subject" in shown.json()) == (200, False)
    assert browser.get("tasks/").json()["count"] == 1
    for path in ("tasks/events/", f"tasks/{task_id}/events/"):
        assert check(browser, path).status_code == 200
    for request_line in TABLE:
        name = "sum" if "task-types" in request_line else "one"
        line = request_line.format(task_id=task_id, file_id=1, key_id=1, name=name)
        answered = browser.ask(*line.split())
        if request_line in OF_A_TOKEN:
            assert answered.status_code == OF_A_TOKEN[request_line], request_line
        elif request_line != "GET subjects/":  # below
            assert refusal(answered) == (403, "insufficient_scope"), request_line
    assert OF_A_TOKEN.keys() < TABLE.keys()
    assert not AuditEntry.objects.filter(action="share_task").exists()
    for refused in (
        browser.get("subjects/"),
        browser.get("tasks/", On_Behalf_Of="one"),
        browser.get("tasks/?subject=one"),
    ):
        assert refusal(refused) == (403, "on_behalf_refused")
    for path, body in (("token/verify/", "token"), ("token/refresh/", "refresh")):
        assert backend.post(path, {body: browser.access}).status_code == 401
    other = backend.on_behalf_of("two").create().json()["id"]
    own = backend.create().json()["id"]
    assert {browser.get(f"tasks/{each}/").status_code for each in (other, own)} == {404}


def test_a_token_can_be_made_before_the_first_task(backend: Backend) -> None:
    browser = ApiClient(backend.client, backend.post("subjects/new/token/").json()["access"])
    assert browser.get("tasks/").json()["count"] == 0
    assert refusal(backend.post("subjects/a b/token/")) == (400, "subject_invalid")
    for seconds in (59, 3601, "900", None):
        assert backend.post("subjects/new/token/", {"expires_in": seconds}).status_code == 400


def test_a_token_expires(
    backend: Backend, account: ServiceAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = backend.post("subjects/one/token/", {"expires_in": 60}).json()["access"]
    browser = ApiClient(backend.client, access)
    assert browser.get("tasks/").status_code == 200
    now = time.time()
    monkeypatch.setattr(subject_tokens.time, "time", lambda: now + 61)
    assert browser.get("tasks/").status_code == 401


def end_by_key(account: ServiceAccount) -> None:
    for key in keys.of_user(account.user):
        keys.revoke(account.user, key.pk)


ENDINGS: list[Callable[[ServiceAccount], None]] = [
    end_by_key,
    lambda account: suspend(account.user),
    lambda account: suspend(user_of("one")),
    lambda account: user_of("one").delete() and None,
]


@pytest.mark.parametrize("end", ENDINGS, ids=["key", "account", "subject", "deleted"])
def test_a_token_ends_with_its_key_its_account_and_its_subject(
    backend: Backend, account: ServiceAccount, end: Callable[[ServiceAccount], None]
) -> None:
    browser = ApiClient(backend.client, backend.post("subjects/one/token/").json()["access"])
    assert browser.get("tasks/").status_code == 200
    end(account)
    assert browser.get("tasks/").status_code == 401
    assert check(browser, "tasks/events/").status_code == 401


def test_a_suspended_account_ends_the_links_of_its_subjects(
    backend: Backend, account: ServiceAccount, nobody: ApiClient
) -> None:
    """But a revoked key does not: they are the subject's."""
    links = []
    for client in (backend.on_behalf_of("one"), new_backend(new_account("warehouse"))):
        path = f"tasks/{client.create().json()['id']}/share/"
        links.append(f"Bearer {client.post(path).json()['token']}")

    def statuses() -> list[int]:
        return [nobody.get("shared/", Authorization=link).status_code for link in links]

    end_by_key(account)
    assert statuses() == [200, 200]
    suspend(account.user)
    assert statuses() == [401, 200]
    User.objects.update(is_active=True)
    assert statuses() == [200, 200]
    suspend(user_of("one"))
    assert statuses() == [401, 200]


def test_the_owner_of_a_request_is_the_subject_that_was_made_again(
    backend: Backend, rf: Any
) -> None:
    for _ in range(2):  # the process remembers a subject that it has found
        backend.on_behalf_of("one").create()
    old = user_of("one")
    old_id = old.pk
    old.delete()
    header = {"Authorization": f"Bearer {backend.access}", "On-Behalf-Of": "one"}
    request = Request(rf.get("/", headers=header), authenticators=[ClaimAuthentication()])
    assert owner_id_of(request) == old_id
    new_id = user_of_request(request).pk
    assert owner_id_of(request) == new_id == user_of("one").pk != old_id


@pytest.mark.parametrize("change", ["cut", "flip", "access"])
def test_a_token_that_we_did_not_sign_is_refused(
    backend: Backend, api: ApiClient, change: str
) -> None:
    access = backend.post("subjects/one/token/").json()["access"]
    made_up = {
        "cut": access[:-1],
        "flip": access[:40] + ("A" if access[40] != "A" else "B") + access[41:],
        "access": f"tyb_{api.access}",
    }[change]
    assert ApiClient(api.client, made_up).get("tasks/").status_code == 401
    # And none is an ordinary token.
    assert ApiClient(api.client, access.removeprefix("tyb_")).get("tasks/").status_code == 401


@pytest.mark.django_db(transaction=True)
def test_a_subject_that_is_named_by_many_at_once_is_made_once(
    backend: Backend, figure: Any
) -> None:
    def create(_number: int) -> int:
        try:
            return int(backend.on_behalf_of("new").create().status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = Counter(pool.map(create, range(16)))
    assert answers == {201: 5, 400: 11}
    assert Subject.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_each_of_many_subjects_of_one_key_has_exactly_its_limit(
    backend: Backend, account: ServiceAccount, figure: Any
) -> None:
    """`SUBJECTS=1000 BURST=100`: the figure of the issue."""

    def burst(number: int) -> Counter[int]:
        customer = backend.on_behalf_of(f"customer-{number % SUBJECTS}")
        try:
            return Counter(customer.create().status_code for _ in range(5))
        finally:
            connection.close()

    began = time.monotonic()
    # The bursts of all subjects are mixed, and several threads ask for each at the same time.
    with ThreadPoolExecutor(16) as pool:
        answers: Counter[int] = Counter()
        for counted in pool.map(burst, range(SUBJECTS * BURST // 5)):
            answers += counted
    seconds = time.monotonic() - began
    assert answers == {201: 5 * SUBJECTS, 400: (BURST - 5) * SUBJECTS}
    quotas_of = Quota.objects.filter(user__in=Subject.objects.values("user"))
    assert Counter(quotas_of.values_list("active", flat=True)) == {5: SUBJECTS}
    active = Counter(Task.objects.active().values_list("owner_id", flat=True))
    assert Counter(active.values()) == {5: SUBJECTS}
    rate = SUBJECTS * BURST / seconds
    figure(f"{SUBJECTS} subjects × {BURST} creates", f"5 active each; {rate:.0f} creates/s")


def test_a_key_with_few_scopes_acts_within_them(account: ServiceAccount, backend: Backend) -> None:
    task_id = backend.on_behalf_of("one").create().json()["id"]
    reader = Backend(new_key(account, "tasks:read"), "one")
    assert reader.get(f"tasks/{task_id}/").status_code == 200
    assert refusal(reader.create()) == (403, "insufficient_scope")
    narrow = Backend(new_key(account, "tasks:submit", task_types=["countdown"]), "one")
    refused = narrow.post("tasks/", SUM, Accept="application/problem+json")
    assert refusal(refused) == (403, "task_type_refused")
