"""Secrets in inputs over HTTP: stored encrypted, shown as dots, given to the handler."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from taskyard.catalog.schema import InvalidInput
from taskyard.catalog.secrets import DOTS
from taskyard.core import idempotency, lifecycle
from taskyard.core.encryption import PREFIX
from taskyard.core.errors import SecretUnreadable
from taskyard.core.models import IdempotencyKey, Quota, Task
from taskyard.core.states import Status
from taskyard.server.home import new_encryption_key
from tests.api_client import ApiClient
from tests.configured import configure
from tests.running import run_ready

PASSWORD = "Correct-Horse-42"
INPUT = {"user": "ann", "password": PASSWORD}
SHOWN = {"user": "ann", "password": DOTS}


@pytest.fixture(autouse=True)
def registered(secret_types: Any) -> None:
    """The types with secrets are known, and there is a key."""


def create(api: ApiClient, input_data: Any = None, **options: Any) -> Any:
    return api.create("signs-in", input_data=input_data or INPUT, **options)


def everything_stored() -> str:
    """All rows of all tables as text."""
    out = io.StringIO()
    call_command("dumpdata", stdout=out)
    return out.getvalue()


def test_a_secret_is_stored_encrypted_and_shown_as_dots(api: ApiClient) -> None:
    created = create(api, tags=["x"])
    assert created.status_code == 201
    assert created.json()["input_data"] == SHOWN
    task_id = created.json()["id"]
    assert Task.objects.get().input_data["password"].startswith(PREFIX)
    assert PASSWORD not in everything_stored()
    for path in (f"tasks/{task_id}/", f"tasks/{task_id}/?fields=input_data"):
        assert api.get(path).json()["input_data"] == SHOWN
    for path in ("tasks/", "tasks/?fields=id,input_data", "tasks/?tag=x"):
        assert api.get(path).json()["results"][0]["input_data"] == SHOWN
    cancelled = api.post(f"tasks/{task_id}/cancel/")
    assert cancelled.json()["input_data"] == SHOWN


def test_secrets_are_hidden_in_every_form_that_is_supported(
    api: ApiClient, secret_types: Any
) -> None:
    text = json.dumps(secret_types.MANY).replace("{n}", "many")
    shown = api.create("many-secrets", input_data=json.loads(text)).json()["input_data"]
    assert shown == {
        "account": {"user": "ann", "password": DOTS},
        "headers": [{"name": "X-Key", "value": DOTS}],
        "tokens": [DOTS, DOTS],
        "by_name": {"a/b~c": DOTS},
        "pair": {"left": "open", "right": DOTS},
        "maybe": DOTS,
    }
    assert "pass-many" not in everything_stored()
    (ending,) = run_ready()
    digests = [secret_types.digest(f"pass-many-{n}") for n in range(7)]
    assert json.loads(ending.result) == digests


def test_the_handler_gets_the_secret_and_a_retry_too(api: ApiClient, secret_types: Any) -> None:
    task_id = create(api, {**INPUT, "how": "fails"}).json()["id"]
    (ending,) = run_ready()
    assert (ending.status, ending.error_code) == (Status.ERROR, "denied")
    again = api.post(f"tasks/{task_id}/retry/").json()
    assert again["input_data"] == {**SHOWN, "how": "fails"}
    first, second = Task.objects.order_by("id")
    assert first.input_data == second.input_data
    quick = api.create("quick-secret", input_data={"password": PASSWORD}).json()["id"]
    run_ready()
    assert api.get(f"tasks/{quick}/").json()["result"] == secret_types.digest(PASSWORD)
    assert PASSWORD not in everything_stored()


@pytest.mark.parametrize("how", ["raises", "fails", "retries", "refuses"])
def test_a_message_with_the_secret_is_scrubbed(api: ApiClient, how: str) -> None:
    task_id = create(api, {**INPUT, "how": how}).json()["id"]
    run_ready()
    error = api.get(f"tasks/{task_id}/").json()["error"]
    assert DOTS in error["message"]
    attempts = api.get(f"tasks/{task_id}/attempts/").text
    assert PASSWORD not in error["message"] + attempts + everything_stored()


def test_another_spelling_of_the_secret_is_scrubbed_too(api: ApiClient) -> None:
    password = 'a"b\\c d&é\nsecond line of it'
    task_id = create(api, {"user": "ann", "password": password, "how": "retries"}).json()["id"]
    run_ready()
    message = api.get(f"tasks/{task_id}/").json()["error"]["message"]
    assert "second" not in message
    assert "d&" not in message


@pytest.mark.parametrize("path", ["tasks/create/", "tasks/bulk/"])
def test_the_same_request_is_replayed_and_its_fingerprint_needs_a_key(
    api: ApiClient, path: str
) -> None:
    def submit(password: str) -> Any:
        task = {"task_type": "signs-in", "input_data": {"user": "ann", "password": password}}
        body = {"tasks": [task]} if "bulk" in path else task
        return body, api.post(path, body, Idempotency_Key="k")

    body, first = submit(PASSWORD)
    assert first.status_code == 201
    _, again = submit(PASSWORD)
    assert again.headers["Idempotency-Replayed"] == "true"
    _, other = submit("another secret")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    endpoint = "bulk" if "bulk" in path else "create"
    kept = IdempotencyKey.objects.get().fingerprint
    assert kept != idempotency.fingerprint(endpoint, body)
    assert kept == idempotency.fingerprint(endpoint, body, has_secrets=True)
    assert Task.objects.count() == 1


def test_the_fingerprint_of_an_input_that_is_not_kept_needs_a_key(api: ApiClient) -> None:
    body = {"task_type": "short-lived", "input_data": {"note": "a number of few digits"}}
    assert api.post("tasks/create/", body, Idempotency_Key="k").status_code == 201
    kept = IdempotencyKey.objects.get().fingerprint
    assert kept == idempotency.fingerprint("create", body, has_secrets=True)
    again = api.post("tasks/create/", body, Idempotency_Key="k")
    assert again.headers["Idempotency-Replayed"] == "true"


def test_without_a_key_nothing_is_accepted(api: ApiClient, settings: Any) -> None:
    configure(settings, ENCRYPTION_KEYS=[])
    refused = create(api)
    assert (refused.status_code, refused.json()["code"]) == (503, "encryption_unavailable")
    assert api.create().status_code == 201
    assert PASSWORD not in everything_stored()
    assert Task.objects.count() == Quota.objects.get().active == 1


def test_with_another_key_the_task_ends_in_error_and_is_not_lost(
    api: ApiClient, settings: Any, secret_types: Any
) -> None:
    task_id = create(api).json()["id"]
    former = settings.TASKYARD["ENCRYPTION_KEYS"]
    configure(settings, ENCRYPTION_KEYS=[new_encryption_key()])
    run_ready()
    shown = api.get(f"tasks/{task_id}/").json()
    assert (shown["status"], shown["error"]["code"]) == ("error", "secret_unreadable")
    assert "секрет" in shown["error"]["message"]
    assert PREFIX not in json.dumps(shown)
    configure(settings, ENCRYPTION_KEYS=[new_encryption_key(), *former])
    again = api.post(f"tasks/{task_id}/retry/").json()["id"]
    run_ready()
    assert api.get(f"tasks/{again}/").json()["result"] == secret_types.digest(PASSWORD)


def test_an_envelope_is_of_no_use_to_another_task_type_or_field(
    api: ApiClient, secret_types: Any
) -> None:
    create(api)
    envelope = Task.objects.get().input_data["password"]
    # A user who has it from a dump submits it: it is a secret like any other text.
    shown = api.create("quick-secret", input_data={"password": envelope}).json()
    run_ready()
    result = api.get(f"tasks/{shown['id']}/").json()["result"]
    assert result == secret_types.digest(envelope)
    # Even who writes into the database cannot have it decrypted elsewhere.
    other = create(api).json()["id"]
    Task.objects.filter(id=other).update(
        task_type="quick-secret", input_data={"password": envelope}
    )
    run_ready()
    assert api.get(f"tasks/{other}/").json()["error"]["code"] == "secret_unreadable"


def test_wrong_inputs_are_refused_without_a_word_of_the_secret(api: ApiClient) -> None:
    refused = create(api, {"user": 1, "password": PASSWORD * 20, "extra": PASSWORD})
    assert refused.status_code == 400
    assert PASSWORD not in refused.text
    assert set(refused.json()["input_data"]) == {"user", "password", "extra"}
    copied = create(api, SHOWN)
    assert copied.status_code == 400
    assert "password" in copied.json()["input_data"]


@pytest.mark.parametrize("sent", [{"a": "Hunter-22"}, ["Hunter-22"], 5, 1.5, True, None, [], {}])
@pytest.mark.parametrize("path", ["tasks/create/", "tasks/bulk/"])
def test_what_is_no_text_is_refused_at_its_place(api: ApiClient, path: str, sent: Any) -> None:
    task = {"task_type": "signs-in", "input_data": {"user": "ann", "password": sent}}
    refused = api.post(path, {"tasks": [task]} if "bulk" in path else task)
    assert refused.status_code == 400
    assert "password" in refused.text
    assert "Hunter" not in refused.text
    assert not Task.objects.exists()


def test_a_number_that_becomes_a_secret_is_refused(api: ApiClient) -> None:
    """It would be stored as it was sent."""
    refused = api.create("takes-a-pin", input_data={"pin": 12345})
    assert refused.status_code == 400
    assert "input_data" in refused.json()
    assert api.create("takes-a-pin", input_data={"pin": "12345"}).status_code == 201
    assert "12345" not in everything_stored()


def test_the_type_says_which_of_its_inputs_are_secrets(api: ApiClient) -> None:
    schema = api.get("task-types/signs-in/").json()["input_schema"]
    password = schema["properties"]["password"]
    assert (password["format"], password["writeOnly"]) == ("password", True)


def test_an_input_that_is_not_kept_is_null_after_the_end(api: ApiClient, secret_types: Any) -> None:
    given = {"note": "n" * 5000, "how": "fails"}
    task_id = api.create("short-lived", input_data=given).json()["id"]
    before = Quota.objects.get().bytes
    assert api.get(f"tasks/{task_id}/").json()["input_data"] == given
    run_ready()
    for shown in (api.get(f"tasks/{task_id}/").json(), api.get("tasks/").json()["results"][0]):
        assert shown["input_data"] is None
        assert "omitted" not in shown
    assert "nnnn" not in everything_stored()
    task, quota = Task.objects.get(), Quota.objects.get()
    assert task.size == quota.bytes
    assert before - 5100 < quota.bytes < before - 5000
    refused = api.post(f"tasks/{task_id}/retry/")
    assert (refused.status_code, refused.json()["code"]) == (409, "input_not_kept")


@pytest.mark.parametrize("is_running", [False, True])
def test_a_cancelled_task_does_not_keep_its_input_either(
    api: ApiClient, is_running: bool, fake_worker: Any
) -> None:
    task_id = api.create("short-lived", input_data={"note": "n" * 5000}).json()["id"]
    if is_running:
        sizes = {"short-lived": 1}
        lifecycle.claim("default", sizes, worker_id=fake_worker.worker_id, process=1)
    # As an exposed Celery task keeps the arguments of a retry.
    Task.objects.filter(id=task_id).update(checkpoint={"kwargs": {"note": "n"}})
    api.post(f"tasks/{task_id}/cancel/")
    if is_running:
        lifecycle.rescue(Task.objects.all())
    shown = api.get(f"tasks/{task_id}/").json()
    assert (shown["status"], shown["input_data"]) == ("cancelled", None)
    assert Task.objects.get().size == Quota.objects.get().bytes < 2000
    assert Task.objects.get().checkpoint is None


def test_types_that_keep_their_input_cost_no_further_query(
    api: ApiClient, secret_types: Any
) -> None:
    """Also in a project with types that do not keep it."""

    def queries_of_an_end() -> int:
        api.create(input_data={"numbers": [1]})
        with CaptureQueriesContext(connection) as queries:
            run_ready()
        return len(queries)

    with_such_types = queries_of_an_end()
    secret_types.unregister()
    assert queries_of_an_end() == with_such_types


def test_many_tasks_are_counted_right_when_their_inputs_go(api: ApiClient, settings: Any) -> None:
    """A bulk is counted evenly, so no task gives back more than it is counted for."""
    configure(settings, ACTIVE_LIMIT=100)
    tasks = [
        {"task_type": "short-lived", "input_data": {"note": "n" * size}}
        for size in (1, 10, 10_000, 50_000)
    ]
    assert api.post("tasks/bulk/", {"tasks": [*tasks, {**SUM}]}).status_code == 201
    run_ready()
    sizes = list(Task.objects.values_list("size", flat=True))
    assert sum(sizes) == Quota.objects.get().bytes
    assert min(sizes) >= 1024


SUM: dict[str, Any] = {"task_type": "sum", "input_data": {"numbers": [1, 2, 3]}}


def test_a_long_input_is_omitted_in_a_list_and_is_not_taken_for_deleted(api: ApiClient) -> None:
    api.create("short-lived", input_data={"note": "n" * 20_000})
    (shown,) = api.get("tasks/").json()["results"]
    assert (shown["input_data"], shown["omitted"]) == ({}, ["input_data"])


def test_from_the_projects_code(user: Any, secret_types: Any) -> None:
    from taskyard import jobs

    task = jobs.submit("signs-in", INPUT, owner=user)
    assert task.input_data["password"].startswith(PREFIX)
    assert task.shown_input == SHOWN
    (many,) = jobs.submit_many("quick-secret", [{"password": PASSWORD}], owner=user)
    assert jobs.get(many).shown_input == {"password": DOTS}
    with pytest.raises(InvalidInput):
        jobs.submit("signs-in", SHOWN, owner=user)


def test_a_type_that_is_gone_still_hides_what_was_given(api: ApiClient, secret_types: Any) -> None:
    task_id = create(api).json()["id"]
    secret_types.unregister()
    assert api.get(f"tasks/{task_id}/").json()["input_data"] == SHOWN


def test_a_retry_with_files_needs_the_key(
    api: ApiClient, settings: Any, upload: Callable[[], int]
) -> None:
    given = {"table": upload(), "password": PASSWORD}
    task_id = api.create("with-file", input_data=given).json()["id"]
    api.post(f"tasks/{task_id}/cancel/")
    assert api.post(f"tasks/{task_id}/retry/").status_code == 201
    configure(settings, ENCRYPTION_KEYS=[new_encryption_key()])
    refused = api.post(f"tasks/{task_id}/retry/")
    assert (refused.status_code, refused.json()["code"]) == (409, SecretUnreadable.code)


@pytest.fixture
def upload(api: ApiClient) -> Callable[[], int]:
    def upload() -> int:
        answer = api.ask("POST", "files/?name=a.csv", b"a,b\n", "application/octet-stream")
        return int(answer.json()["id"])

    return upload
