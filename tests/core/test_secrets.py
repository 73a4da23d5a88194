"""The keys of secrets: envelopes, rotation, exports, checks."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import connection
from django.test.utils import CaptureQueriesContext

from taskyard.catalog.secrets import DOTS
from taskyard.core import encryption, lifecycle, rotation
from taskyard.core.conf import Conf
from taskyard.core.encryption import ENVELOPE
from taskyard.core.errors import EncryptionUnavailable, SecretUnreadable
from taskyard.core.forgetting import NULL
from taskyard.core.intake import parse_task
from taskyard.core.models import Task
from taskyard.core.search import containing
from taskyard.core.transfer import exporter, importer
from taskyard.core.types import NewTask, UserId
from taskyard.server.home import new_encryption_key
from tests.configured import configure
from tests.running import run_ready

pytestmark = pytest.mark.django_db
PASSWORD = "Correct-Horse-42"


@pytest.fixture(autouse=True)
def registered(secret_types: Any) -> None:
    """The types with secrets are known, and there is a key."""


@pytest.fixture
def submit(owner_id: UserId, settings: Any) -> Callable[..., int]:
    configure(settings, ACTIVE_LIMIT=10_000)

    def submit(task_type: str = "quick-secret", **input_data: Any) -> int:
        given = input_data or {"password": PASSWORD}
        new = parse_task({"task_type": task_type, "input_data": given})
        return lifecycle.submit(owner_id, new).pk

    return submit


def keys_in_use() -> set[str]:
    texts = (json.dumps(task.input_data) for task in Task.objects.all())
    return {match[1] for text in texts for match in ENVELOPE.finditer(text)}


def add_key(settings: Any) -> str:
    """Put a new key before the others; its id."""
    former = settings.TASKYARD["ENCRYPTION_KEYS"]
    configure(settings, ENCRYPTION_KEYS=[new_encryption_key(), *former])
    return encryption.keys()[0].id


def results() -> list[Any]:
    run_ready()
    return list(Task.objects.order_by("id").values_list("result", "error_code"))


def test_an_envelope_differs_each_time_and_is_bound_to_its_place() -> None:
    one, other = (encryption.encrypted("a", PASSWORD, ("x", 1)) for _ in range(2))
    assert one != other
    assert encryption.decrypted("a", one, ("x", 1)) == PASSWORD
    for task_type, path in (("b", ("x", 1)), ("a", ("x", 2)), ("a", ("y", 1)), ("a", ())):
        with pytest.raises(SecretUnreadable):
            encryption.decrypted(task_type, one, path)


@pytest.mark.parametrize("damage", ["cut", "changed", "short", "padded", "no Base64"])
def test_a_damaged_envelope_is_unreadable(damage: str) -> None:
    envelope = encryption.encrypted("a", PASSWORD, ("x",))
    head, _, data = envelope.rpartition(":")
    broken = {
        "cut": envelope[:-4],
        "changed": f"{head}:{'B' if data[0] == 'A' else 'A'}{data[1:]}",
        "short": f"{head}:AAAA",
        "padded": f"{envelope}=",
        "no Base64": f"{head}:A",
    }
    with pytest.raises(SecretUnreadable) as caught:
        encryption.decrypted("a", broken[damage], ("x",))
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("text", ["", "é", "\N{GRINNING FACE}\n\t'\"\\", "x" * 100_000])
def test_any_text_comes_back(text: str) -> None:
    assert encryption.decrypted("a", encryption.encrypted("a", text, ()), ()) == text


def test_the_setting_takes_keys_alone_and_does_not_repeat_them() -> None:
    key = new_encryption_key()
    assert Conf(ENCRYPTION_KEYS=[key, key.rstrip("=")]).ENCRYPTION_KEYS
    assert key not in repr(Conf(ENCRYPTION_KEYS=[key]))
    for wrong in (key[:-4], f"{key}AAAA", "password", "", f"{key[:-3]}!!="):
        with pytest.raises(ValueError, match="encryption-key") as caught:
            Conf(ENCRYPTION_KEYS=[wrong])
        assert not wrong or wrong not in caught.value.errors()[0]["msg"]  # type: ignore[attr-defined]


def test_a_rotation_encrypts_all_secrets_with_the_first_key(
    submit: Callable[..., int], settings: Any, secret_types: Any
) -> None:
    many = json.loads(json.dumps(secret_types.MANY).replace("{n}", "r"))
    for _ in range(3):
        submit()
    submit("many-secrets", **many)
    submit("short-lived", note="plain")
    new = add_key(settings)
    submit()
    assert len(keys_in_use()) == 2
    counts = rotation.rotate()
    assert (counts.again, counts.were_clear, counts.tasks) == (3 + 7, 0, 4)
    assert keys_in_use() == {new}
    configure(settings, ENCRYPTION_KEYS=settings.TASKYARD["ENCRYPTION_KEYS"][:1])
    assert {code for _, code in results()} == {""}
    assert rotation.rotate().tasks == 0


def test_an_interrupted_rotation_goes_on_when_it_is_started_again(
    submit: Callable[..., int], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "WINDOW", 10)
    monkeypatch.setattr(rotation, "BATCH", 4)
    for _ in range(35):
        submit()
    new = add_key(settings)

    def interrupt(last_id: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotation.rotate(interrupt)
    texts = [json.dumps(task.input_data) for task in Task.objects.all()]
    assert sum(new in text for text in texts) == 10
    counts = rotation.rotate()
    assert (counts.again, counts.tasks) == (25, 25)
    assert keys_in_use() == {new}
    assert not counts.unreadable


def test_a_rotation_encrypts_what_was_in_clear_before_its_type_had_a_secret(
    owner_id: UserId, secret_types: Any
) -> None:
    lifecycle.submit(owner_id, NewTask("quick-secret", "default", {"password": PASSWORD}))
    counts = rotation.rotate()
    assert (counts.again, counts.were_clear) == (0, 1)
    assert PASSWORD not in json.dumps(Task.objects.get().input_data)
    assert results() == [(secret_types.digest(PASSWORD), "")]


def test_a_rotation_leaves_numbers_alone(submit: Callable[..., int]) -> None:
    submit("number-or-secret", one=12345)
    assert rotation.rotate().tasks == 0
    assert Task.objects.get().input_data == {"one": 12345}


def test_a_secret_in_clear_still_reaches_its_handler(owner_id: UserId, secret_types: Any) -> None:
    new = NewTask("quick-secret", "default", {"password": PASSWORD, "fails": True})
    task = lifecycle.submit(owner_id, new)
    assert task.shown_input == {"password": DOTS, "fails": True}
    run_ready()
    assert Task.objects.get().error_message == f"not {DOTS}"


def test_a_rotation_says_which_key_is_missing_and_leaves_the_rest_alone(
    submit: Callable[..., int], settings: Any
) -> None:
    submit()
    (lost,) = keys_in_use()
    before = Task.objects.get().input_data
    configure(settings, ENCRYPTION_KEYS=[new_encryption_key()])
    counts = rotation.rotate()
    assert (counts.tasks, counts.unreadable) == (0, {lost: 1})
    assert Task.objects.get().input_data == before


def test_a_type_that_is_gone_is_rotated_too(
    submit: Callable[..., int], settings: Any, secret_types: Any
) -> None:
    submit()
    new = add_key(settings)
    secret_types.unregister()
    assert rotation.rotate().again == 1
    assert keys_in_use() == {new}
    secret_types.register()
    assert results() == [(secret_types.digest(PASSWORD), "")]


def test_a_text_that_looks_like_an_envelope_stays_and_is_no_missing_key(
    owner_id: UserId, submit: Callable[..., int]
) -> None:
    looks_like = "taskyard-secret:1:0123abcd:AAAAAAAAAAAA"
    submit("signs-in", user=looks_like, password=PASSWORD)
    counts = rotation.rotate()
    assert (counts.tasks, counts.unreadable) == (0, {})
    assert Task.objects.get().input_data["user"] == looks_like


def test_a_row_that_changes_meanwhile_is_left_as_it_is(
    submit: Callable[..., int], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The input of a task is deleted at its end while the rotation has it in memory."""
    submit("short-lived-secret", password=PASSWORD)
    add_key(settings)
    rewrite = rotation._Rewriting.rewrite

    def end_first(self: Any, text: str) -> str:
        run_ready()
        return rewrite(self, text)

    monkeypatch.setattr(rotation._Rewriting, "rewrite", end_first)
    rotation.rotate()
    assert Task.objects.get().input_data is None


def test_without_a_key_there_is_no_rotation(settings: Any) -> None:
    configure(settings, ENCRYPTION_KEYS=[])
    with pytest.raises(EncryptionUnavailable):
        rotation.rotate()


def test_a_project_with_secrets_and_no_key_does_not_pass_its_checks(settings: Any) -> None:
    assert not [each for each in run_checks() if each.id == "taskyard.E012"]
    configure(settings, ENCRYPTION_KEYS=[])
    (error,) = [each for each in run_checks() if each.id == "taskyard.E012"]
    assert "signs-in" in error.msg
    assert "encryption-key" in str(error.hint)


def test_a_secret_is_not_found_by_a_search(submit: Callable[..., int]) -> None:
    submit("signs-in", user="searched", password=PASSWORD)
    assert containing(Task.objects.all(), "searched").exists()
    assert not containing(Task.objects.all(), PASSWORD).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("secrets", [False, True])
def test_an_export_has_dots_or_with_secrets_what_is_stored(
    owner_id: UserId, settings: Any, secret_types: Any, secrets: bool
) -> None:
    given = {"task_type": "quick-secret", "input_data": {"password": PASSWORD}}
    lifecycle.submit(owner_id, parse_task(given))
    given = {"task_type": "short-lived", "input_data": {"note": "gone"}}
    lifecycle.submit(owner_id, parse_task(given))
    Task.objects.filter(task_type="short-lived").update(input_data=NULL)
    out = io.BytesIO()
    exporter.export(out, secrets=secrets)
    text = out.getvalue().decode()
    assert PASSWORD not in text
    assert bool(ENVELOPE.search(text)) is secrets
    rows = [json.loads(line) for line in text.splitlines()]
    inputs = [row["input_data"] for row in rows if row["kind"] == "task"]
    assert secrets or inputs[0] == {"password": DOTS}
    assert inputs[1] is None
    Task.objects.all().delete()
    importer.import_lines(out.getvalue().splitlines(keepends=True))
    first, second = Task.objects.order_by("id")
    assert second.input_data is None
    run_ready()
    first.refresh_from_db()
    if secrets:
        assert first.result == secret_types.digest(PASSWORD)
    else:
        assert first.error_code == "secret_unreadable"


def test_a_secret_costs_no_further_statement(owner_id: UserId) -> None:
    lifecycle.open_quota(owner_id)
    plain = NewTask("short-lived", "default", {"note": ""})
    sealed = parse_task({"task_type": "quick-secret", "input_data": {"password": PASSWORD}})
    counts = []
    for new in (plain, sealed):
        with CaptureQueriesContext(connection) as queries:
            lifecycle.submit(owner_id, new)
        counts.append(len(queries))
    assert counts[0] == counts[1]
