"""An export holds the whole record; an import adds it elsewhere and changes nothing that is there.

The files that are imported are written by hand or by ``exporter``, on the database of the run.
"""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from taskyard.core import lifecycle, queues, quotas, transitions
from taskyard.core.models import (
    Attempt,
    AuditEntry,
    ImportedId,
    LogLine,
    PausedQueue,
    Quota,
    Task,
)
from taskyard.core.states import Status
from taskyard.core.transfer import exporter, importer, lines
from taskyard.core.transfer.lines import BadLine, Position
from taskyard.core.types import AttemptResult, ClaimedTask, NewTask, Traceback, UserId
from tests.people import user_name

pytestmark = pytest.mark.django_db
# An export is a transaction of its own.
exports = pytest.mark.django_db(transaction=True)

HEADER = {
    "kind": "header", "format": "taskyard-export", "version": 1, "source": "elsewhere",
    "exported_at": "2026-01-01T00:00:00Z",
}  # fmt: skip
ENDED = {
    "kind": "task", "owner": user_name("ann"), "task_type": "sum", "queue": "default",
    "input_data": {"numbers": [1]}, "status": "completed", "result": {"result": 1},
    "created_at": "2025-01-02T03:04:05.000006Z", "finished_at": "2025-01-02T03:05:00Z",
    "attempt": 1,
}  # fmt: skip
PENDING = {
    "kind": "task", "owner": user_name("ann"), "task_type": "sum", "queue": "default",
    "input_data": {"numbers": [1]}, "status": "pending",
    "created_at": "2025-01-02T03:04:05.000006Z",
}  # fmt: skip
RUNNING = {
    **PENDING, "status": "in_progress", "attempt": 1, "started_at": "2025-01-02T03:04:06Z",
    "claimed_at": "2025-01-02T03:04:06Z",
}  # fmt: skip
END = {"kind": "end"}


def exported(**options: Any) -> list[bytes]:
    out = io.BytesIO()
    exporter.export(out, **options)
    return out.getvalue().splitlines(keepends=True)


def file_of(*objects: dict[str, Any]) -> list[bytes]:
    return [json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in objects]


def imported(*objects: dict[str, Any], new_ids: bool = False) -> importer.Imported:
    return importer.import_lines(file_of(HEADER, *objects, END), new_ids=new_ids)


def refused(*objects: dict[str, Any], **options: Any) -> BadLine:
    with pytest.raises(BadLine) as caught:
        imported(*objects, **options)
    return caught.value


def without_times(file: list[bytes]) -> list[bytes]:
    """All lines but the header, whose time differs."""
    return file[1:]


def empty_the_database() -> None:
    for model in (Task, AuditEntry, PausedQueue, Quota, ImportedId, get_user_model()):
        model._default_manager.all().delete()


@pytest.fixture
def record(owner_id: int, submit: Any, claim: Callable[..., list[ClaimedTask]]) -> list[int]:
    """Tasks in all states, with history; a limit, a paused queue, audit entries. Task ids."""
    exact = {"text": "Ünï\u2028 \U0001f600", "float": 0.1, "big": 2**80, "small": -0.0, "e": 1e21}
    done = submit("countdown", input_data=exact, tags=("a", "ß"))
    failed = submit(max_attempts=1)
    first, second = sorted(claim(sum=2, countdown=2))
    later = datetime.now(UTC) + timedelta(hours=1)
    transitions.finish(
        [
            AttemptResult(
                first,
                Status.PENDING,
                error_code="retry",
                error_message="once more",
                wake_at=datetime.now(UTC),
                traceback=Traceback("ValueError", "tasks.py:1", "Traceback …"),
            ),
            AttemptResult(
                second,
                Status.ERROR,
                error_code="exception",
                error_message="no",
                traceback=Traceback("KeyError", "tasks.py:2", "Traceback: é"),
            ),
        ]
    )
    lifecycle.release_due()
    (again,) = claim()
    LogLine.objects.create(task_id=done.id, attempt=2, at=later, message="said\nmore", dropped=3)
    transitions.finish(
        [AttemptResult(again, Status.COMPLETED, result='{"x":1.10}', progress='{"current":1}')]
    )
    retried = lifecycle.retry(Task.objects.get(id=failed.id))
    cancelled = submit()
    lifecycle.cancel(cancelled.id, by_id=owner_id)
    delayed = submit(run_at=later)
    asleep = submit("countdown")
    (_, napping) = sorted(claim(sum=2, countdown=2))
    assert napping.id == asleep.id
    transitions.finish(
        [
            AttemptResult(
                napping,
                Status.IN_PROGRESS,
                checkpoint='{"left":[1,2]}',
                slept=1,
                wake_at=later,
                resumes=True,
            )
        ]
    )
    quotas.change_limit(owner_id, 77, by_id=owner_id)
    queues.pause("closed", by_id=owner_id)
    return [task.id for task in (done, failed, retried, cancelled, delayed, asleep)]


@exports
def test_a_file_that_is_imported_and_exported_again_is_the_same(record: list[int]) -> None:
    retried = record[2]
    # The one that runs is another one after an import.
    Task.objects.filter(id=retried).delete()
    before = exported(secrets=True)
    empty_the_database()
    counts = importer.import_lines(before)
    assert counts.new == {"user": 1, "quota": 1, "queue": 1, "task": 5, "audit": 2}
    assert without_times(exported(secrets=True)) == without_times(before)
    quota = Quota.objects.get()
    counters = quota.active, quota.completed, quota.error, quota.cancelled
    assert counters == (2, 1, 1, 1)


@exports
def test_a_second_import_changes_nothing(record: list[int]) -> None:
    before = exported()
    counts = importer.import_lines(before)
    assert not counts.new
    assert counts.there == {"user": 1, "quota": 1, "queue": 1, "task": 6, "audit": 2}
    assert without_times(exported()) == without_times(before)


@pytest.mark.parametrize("new_ids", [False, True])
def test_an_import_counts_in_the_quota(owner_id: int, new_ids: bool) -> None:
    tasks = [{**ENDED, "id": 7}, {**PENDING, "id": 8}, {**RUNNING, "id": 9}]
    tasks = [{**task, "owner": user_name("owner")} for task in tasks]
    for _ in range(2):
        imported(*tasks, new_ids=new_ids)
    quota = Quota.objects.get(user_id=owner_id)
    assert (quota.active, quota.completed, quota.error) == (2, 1, 0)
    assert quota.bytes == sum(Task.objects.values_list("size", flat=True))


def give_password(owner_id: UserId) -> str:
    """Let the owner sign in with "password123"; its hash."""
    user = get_user_model().objects.get(pk=owner_id)
    user.set_password("password123")
    user.save()
    return str(user.password)


@exports
def test_passwords_are_exported_only_if_they_are_asked_for(owner_id: int) -> None:
    name = get_user_model().USERNAME_FIELD
    hashed = give_password(owner_id)
    assert hashed.encode() not in b"".join(exported())
    with_secrets = exported(secrets=True)
    assert hashed.encode() in b"".join(with_secrets)
    empty_the_database()
    importer.import_lines(with_secrets)
    user = get_user_model().objects.get(**{name: user_name("owner")})
    assert user.check_password("password123")


def test_users_without_a_hash_get_no_usable_password() -> None:
    imported({**ENDED, "id": 1, "owner": user_name("ben")})
    user = get_user_model().objects.get_by_natural_key(user_name("ben"))
    assert not user.has_usable_password()
    assert Task.objects.get(id=1).owner_id == user.pk


def test_users_are_matched_by_name_and_stay_as_they_are(owner_id: int) -> None:
    give_password(owner_id)
    quotas.change_limit(owner_id, 3, by_id=None)
    other = {"kind": "user", "username": user_name("owner"), "is_staff": True, "password": "!x"}
    counts = imported(other, {"kind": "quota", "username": user_name("owner"), "active_limit": 9})
    user = get_user_model().objects.get(pk=owner_id)
    assert not getattr(user, "is_staff", False)
    assert user.check_password("password123")
    assert Quota.objects.get(user_id=owner_id).active_limit == 3
    assert counts.there == {"user": 1, "quota": 1}


def test_an_id_that_is_taken_is_refused_unless_new_ones_are_asked_for(submit: Any) -> None:
    here = submit()
    lines_there = [
        {**ENDED, "id": here.id, "status": "error", "error": {"code": "x", "message": ""}},
        {**ENDED, "id": here.id + 1, "retry_of": here.id},
    ]
    error = refused(*lines_there)
    assert (error.number, error.code, error.imported) == (2, "id_taken", 0)
    assert "--new-ids" in error.message
    assert Task.objects.count() == 1
    for new in (2, 0):
        assert imported(*lines_there, new_ids=True).new["task"] == new
    failed, retried = Task.objects.exclude(id=here.id).order_by("id")
    assert retried.retry_of_id == failed.id
    assert Task.objects.count() == 3


def test_a_retry_in_a_later_import_finds_its_task(submit: Any) -> None:
    here = submit()
    imported({**ENDED, "id": here.id}, new_ids=True)
    # Also without the option: what was imported is known by its old id.
    imported({**ENDED, "id": here.id + 70, "retry_of": here.id})
    assert Task.objects.get(id=here.id + 70).retry_of_id == ImportedId.objects.get().local_id


def test_a_deleted_task_does_not_come_back_under_a_new_id() -> None:
    imported({**ENDED, "id": 5}, new_ids=True)
    Task.objects.all().delete()
    assert imported({**ENDED, "id": 5}, new_ids=True).there == {"task": 1}
    assert not Task.objects.exists()


def test_later_tasks_get_ids_beyond_the_imported_ones(submit: Any) -> None:
    before = submit().id
    imported({**ENDED, "id": before + 1000})
    imported({**ENDED, "id": before + 500})
    assert submit().id == before + 1001


def test_a_running_task_runs_again_with_its_attempts(submit: Any, claim: Any) -> None:
    past = {
        "number": 1, "started_at": "2025-01-02T03:04:06Z", "ended_at": "2025-01-02T03:04:07Z",
        "error": {"code": "retry", "message": "m"},
    }  # fmt: skip
    imported({**RUNNING, "id": 1, "attempt": 2, "attempts": [past]})
    (claimed,) = claim()
    assert (claimed.id, claimed.attempt) == (1, 3)
    codes = Attempt.objects.order_by("fence").values_list("number", "error_code")
    assert list(codes) == [(1, "retry"), (2, "worker_lost")]


def test_a_running_task_without_attempts_left_does_not_run_twice() -> None:
    counts = imported({**RUNNING, "id": 1, "max_attempts": 1})
    task = Task.objects.get(id=1)
    assert (task.status, task.error_code, task.ready) == ("error", "worker_lost", False)
    assert Quota.objects.get().error == 1
    assert counts.lost == 1


def test_a_running_task_that_was_to_stop_is_cancelled() -> None:
    imported({**RUNNING, "id": 1, "cancel_requested_at": "2025-01-02T03:04:07Z"})
    assert Task.objects.get(id=1).status == "cancelled"


def test_a_sleeping_task_goes_on_where_it_was(claim: Any) -> None:
    asleep = {"wake_at": "2025-01-02T04:00:00Z", "resumes": True, "checkpoint": {"n": 1}}
    imported({**RUNNING, "id": 1, "slept": 1, **asleep})
    assert claim() == []
    lifecycle.release_due()
    (claimed,) = claim(countdown=1, sum=1)
    assert (claimed.attempt, claimed.slept, claimed.checkpoint) == (1, 1, '{"n": 1}')


def test_a_task_that_was_not_due_waits(claim: Any) -> None:
    imported({**PENDING, "id": 1, "run_at": "2999-01-01T00:00:00Z"})
    assert claim() == []
    assert Task.objects.get(id=1).wake_at == datetime(2999, 1, 1, tzinfo=UTC)


@exports
def test_json_is_kept_to_the_letter() -> None:
    raw = b'{"a": 1.10, "b":1E5,"c" : 123456789012345678901234567890,"d":"\\u00e9\xc3\xa9"}'
    task = json.dumps({**ENDED, "id": 1, "input_data": "HERE"}).encode()
    file = [*file_of(HEADER), task.replace(b'"HERE"', raw) + b"\n", *file_of(END)]
    importer.import_lines(file)
    with connection.cursor() as cursor:
        cursor.execute("SELECT input_data FROM taskyard_task")
        assert cursor.fetchone()[0].encode() == raw
    assert raw in b"".join(exported())


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"{", "not_json"),
        (b"[1]", "not_json"),
        (b'{"kind": "task",}', "not_json"),
        (b'{"kind": "task"} {}', "not_json"),
        (b'{"kind": "task", "kind": "task"}', "not_json"),
        (b'{"kind": "other"}', "unknown_kind"),
        (b'{"kind": "task\xff"}', "not_utf8"),
        (b'{"kind": "task"}', "missing"),
        (b'{"kind": "end", "more": 1}', "extra_forbidden"),
        (b'{"kind": "end"}\n{"kind": "end"}', "out_of_place"),
    ],
)
def test_a_bad_line_is_named(raw: bytes, code: str) -> None:
    file = file_of(HEADER, {**ENDED, "id": 1}) + [each + b"\n" for each in raw.split(b"\n")]
    with pytest.raises(BadLine) as caught:
        importer.import_lines(file)
    assert caught.value.code == code
    assert caught.value.number == (3 if b"\n" not in raw else 4)
    assert "\n" not in str(caught.value)
    assert not Task.objects.exists()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"input_data": "text"}, "string_pattern_mismatch"),
        ({"input_data": {"a": "\0"}}, "not_json"),
        ({"input_data": {"a": "\ud800"}}, "not_json"),
        ({"input_data": {"a": float("inf")}}, "not_json"),
        ({"id": 2**60}, "less_than"),
        ({"id": "1"}, "int_type"),
        ({"created_at": 5}, "datetime_type"),
        ({"created_at": "2025-01-01T00:00:00"}, "timezone_aware"),
        ({"status": "done"}, "literal_error"),
        ({"status": "pending"}, "finished_at"),
        ({"finished_at": None}, "finished_at"),
        ({"wake_at": "2025-01-01T00:00:00Z"}, "wake_at"),
        ({"retry_of": 99}, "unknown_retry_of"),
        ({"owner": "not a name"}, "invalid_user"),
        ({"task_type": "x" * 201}, "string_too_long"),
    ],
)
def test_a_task_that_cannot_be_is_refused(change: dict[str, Any], code: str) -> None:
    task = json.dumps({**ENDED, "id": 1} | change).encode() + b"\n"
    with pytest.raises(BadLine) as caught:
        importer.import_lines([*file_of(HEADER, {**ENDED, "id": 3}), task, *file_of(END)])
    assert (caught.value.number, caught.value.code) == (3, code)
    assert not Task.objects.exists()


def test_the_batches_before_a_bad_line_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "BATCH_LINES", 2)
    tasks = [{**ENDED, "id": number} for number in range(1, 6)]
    error = refused(*tasks, {**ENDED, "id": 6, "retry_of": 99})
    assert (error.number, error.imported) == (7, 5)
    assert list(Task.objects.order_by("id").values_list("id", flat=True)) == [1, 2, 3, 4]
    counts = imported(*tasks)
    assert (counts.there["task"], counts.new["task"]) == (4, 1)


@pytest.mark.parametrize(
    ("header", "code"),
    [({"version": 3}, "unknown_version"), ({"format": "other"}, "literal_error")],
)
def test_another_format_is_refused(header: dict[str, Any], code: str) -> None:
    with pytest.raises(BadLine, match=f"line 1: {code}"):
        importer.import_lines(file_of({**HEADER, **header}, END))
    with pytest.raises(BadLine, match="line 1: no_header"):
        importer.import_lines(file_of(END))
    with pytest.raises(BadLine, match="line 1: no_header"):
        importer.import_lines([])


def test_an_interrupted_export_is_imported_as_far_as_it_goes() -> None:
    with pytest.raises(BadLine, match="line 3: no_end"):
        importer.import_lines(file_of(HEADER, {**ENDED, "id": 1}))
    assert Task.objects.count() == 1
    with pytest.raises(BadLine, match="line 3: incomplete_line"):
        importer.import_lines([*file_of(HEADER, {**ENDED, "id": 1}), b'{"kind": "ta'])


@exports
def test_an_export_continues_after_any_line(record: list[int]) -> None:
    whole = exported()
    for count, raw in enumerate(whole[1:-1], 2):
        place = Position.after(lines.parse(count, raw))
        assert place is not None
        assert exported(after=place, header=False) == whole[count:]


@exports
def test_an_export_shows_one_moment(owner_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another connection submits while the users are written; the task is not in the file."""
    from threading import Thread

    lifecycle.open_quota(owner_id)
    written: list[bytes] = []

    class Out(io.BytesIO):
        def write(self, line: Any) -> int:
            if b'"user"' in line:
                thread = Thread(target=_submit, args=(owner_id,))
                thread.start()
                thread.join(20)
                assert not thread.is_alive(), "the export keeps a writer waiting"
            written.append(line)
            return len(line)

    exporter.export(Out())
    assert Task.objects.count() == 1
    assert [json.loads(line)["kind"] for line in written] == ["header", "user", "end"]


def _submit(owner_id: int) -> None:
    try:
        lifecycle.submit(owner_id, NewTask("sum", "default", {"numbers": [1]}))
    finally:
        connection.close()


@exports
def test_what_is_exported_fits_the_schema(record: list[int]) -> None:
    import jsonschema

    validator = jsonschema.Draft202012Validator(lines.schema())
    for raw in exported(secrets=True):
        validator.validate(json.loads(raw))


def test_a_task_imported_is_run_by_a_worker(claim: Any) -> None:
    imported({**PENDING, "id": 1})
    (claimed,) = claim()
    assert transitions.finish([AttemptResult(claimed, Status.COMPLETED, result="6")]) == {1}
    quota = Quota.objects.get()
    assert (quota.active, quota.completed) == (0, 1)


@exports
def test_a_system_task_has_no_owner() -> None:
    imported({**ENDED, "id": 1, "owner": None})
    assert Task.objects.get(id=1).owner_id is None
    assert b'"owner":null' in b"".join(exported())


@pytest.mark.parametrize(("line", "model"), [(lines.TaskLine, Task), (lines.AuditLine, AuditEntry)])
def test_a_line_takes_what_its_row_can_hold(line: Any, model: Any) -> None:
    for name, field in line.model_fields.items():
        bounds = [part.max_length for part in field.metadata if hasattr(part, "max_length")]
        if bounds and name in {each.name for each in model._meta.concrete_fields}:
            assert bounds == [model._meta.get_field(name).max_length], name
