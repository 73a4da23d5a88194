"""Files in an export and an import: bytes are checked and counted, ids follow."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from django.contrib.auth import get_user_model
from pydantic import BaseModel, StringConstraints, TypeAdapter

from taskyard import task_type
from taskyard.catalog.files import Accepts, InputFile, OutputFile
from taskyard.core import intake, lifecycle, transitions
from taskyard.core.models import Installation, Task
from taskyard.core.states import Status
from taskyard.core.transfer import exporter, importer
from taskyard.core.transfer.lines import BadLine, Position
from taskyard.core.types import AttemptResult, UserId
from taskyard.files import records, storage, sweep, usage
from taskyard.files.models import State, StoredFile
from taskyard.files.renumber import renumber
from taskyard.files.transfer import Incoming, Outgoing, place_of
from taskyard.files.writing import Saver, Writer, begin
from tests.fake_worker import take_lease

pytestmark = pytest.mark.django_db(transaction=True)
Upload = Callable[..., StoredFile]


@task_type("files-test-transfer")
def crop(
    image: Annotated[InputFile, Accepts("text/*")], others: list[InputFile], scale: float = 1.0
) -> dict[str, OutputFile]:
    raise NotImplementedError


def save(owner_id: UserId, task: Any, data: bytes = b"out") -> StoredFile:
    saver = Saver(task.id, task.attempt, task.fence)
    writer = Writer(begin(owner_id, "out.txt", size=None, saver=saver), is_size_known=False)
    writer.write(data)
    return writer.complete()


@pytest.fixture
def tasks(owner_id: UserId, upload: Upload) -> list[Task]:
    """One that has ended with an output, and one that waits, of the same input."""
    first, second = upload(b"first\n"), upload(b"second\n")
    data = {"image": first.pk, "others": [second.pk, first.pk], "scale": 2.50}
    body = {"task_type": "files-test-transfer", "input_data": data}
    made = [lifecycle.submit(owner_id, intake.parse_task(body)) for _ in range(2)]
    worker_id = take_lease("default")
    wanted = {"files-test-transfer": 1}
    (claimed,) = lifecycle.claim("default", wanted, worker_id=worker_id, process=1)[0]
    output = save(owner_id, claimed)
    result = json.dumps({"crop": output.pk})
    transitions.finish([AttemptResult(claimed, Status.COMPLETED, result=result, saved_files=True)])
    return [Task.objects.get(pk=task.id) for task in made]


def exported(folder: Path, **options: Any) -> list[bytes]:
    out = io.BytesIO()
    exporter.export(out, files=Outgoing(folder), **options)
    return out.getvalue().splitlines(keepends=True)


def kinds(lines: list[bytes], kind: str) -> list[dict[str, Any]]:
    return [each for each in map(json.loads, lines) if each["kind"] == kind]


def forget_all() -> None:
    """Make this an empty installation of another id; its bytes go too."""
    get_user_model().objects.all().delete()
    sweep.sweep()
    Installation.objects.all().delete()
    assert not StoredFile.objects.exists()


def seen(owner_id: UserId) -> list[tuple[int, list[tuple[str, str, bytes]]]]:
    """The files of each task as its owner gets them."""
    found = []
    for task in Task.objects.filter(owner_id=owner_id).order_by("pk"):
        files = records.of_tasks([task])[task.pk]
        texts = []
        for entry in files:
            with storage.read(entry.file.key) as stream:
                texts.append((entry.role, entry.file.name, stream.read()))
        found.append((task.pk, texts))
    return found


def test_files_arrive_with_their_tasks(owner_id: UserId, tasks: list[Task], tmp_path: Path) -> None:
    lines = exported(tmp_path / "bytes")
    before = seen(owner_id)
    assert [len(files) for _, files in before] == [3, 2]
    used = usage.of(owner_id)
    assert json.loads(lines[0])["version"] == 2
    assert len(kinds(lines, "file")) == 3
    assert not any("/" in row["name"] or "key" in row for row in kinds(lines, "file"))
    forget_all()
    counts = importer.import_lines(lines, files=Incoming(tmp_path / "bytes"))
    assert (counts.new["file"], counts.new["task"], counts.missing_files) == (3, 2, 0)
    new_owner = get_user_model().objects.get(username="owner").pk
    assert seen(new_owner) == before
    assert usage.of(new_owner) == used
    assert list(Task.objects.values_list("has_files", flat=True)) == [True, True]
    assert sweep.sweep() == 0
    assert not StoredFile.objects.exclude(state=State.READY, expires_at=None).exists()
    again = importer.import_lines(lines, files=Incoming(tmp_path / "bytes"))
    assert (again.new.total(), again.there["file"]) == (0, 3)
    assert usage.of(new_owner) == used
    assert kinds(exported(tmp_path / "bytes"), "file") == kinds(lines, "file")


def test_new_ids_follow_into_inputs_and_results(
    owner_id: UserId, tasks: list[Task], tmp_path: Path
) -> None:
    lines = exported(tmp_path / "bytes")
    # The same ids, but other tasks and files.
    lines = [line.replace(b'"created_at":"20', b'"created_at":"19') for line in lines]
    for _ in range(2):
        importer.import_lines(lines, new_ids=True, files=Incoming(tmp_path / "bytes"))
    assert (Task.objects.count(), StoredFile.objects.count()) == (4, 6)
    old, _, new, _ = Task.objects.order_by("pk")
    ids = [entry.file.pk for entry in records.of_tasks([new])[new.pk]]
    assert not set(ids) & {entry.file.pk for entry in records.of_tasks([old])[old.pk]}
    assert new.input_data == {"image": ids[0], "others": [ids[1], ids[0]], "scale": 2.5}
    assert new.result == {"crop": ids[2]}
    assert usage.of(owner_id) == 2 * sum(row["size"] for row in kinds(lines, "file"))


def test_an_export_goes_on_after_a_file(tasks: list[Task], tmp_path: Path) -> None:
    lines = exported(tmp_path / "bytes")
    second = kinds(lines, "file")[1]["id"]
    rest = exported(tmp_path / "bytes", after=Position("file", second), header=False)
    assert rest == lines[-len(rest) :]
    assert len(kinds(rest, "file")) == 1
    last = exported(tmp_path / "bytes", after=Position("task", tasks[0].pk), header=False)
    assert kinds(last, "task")[0]["inputs"] == kinds(lines, "task")[1]["inputs"]
    assert kinds(last, "file") == []


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda path: path.write_bytes(b"FIRST\n"), "digest_mismatch"),
        (lambda path: path.write_bytes(b"first"), "no_bytes"),
        (lambda path: path.unlink(), "no_bytes"),
    ],
)
def test_wrong_bytes_are_refused(
    damage: Callable[[Path], Any], code: str, tasks: list[Task], tmp_path: Path, folder: Path
) -> None:
    lines = exported(tmp_path / "bytes")
    forget_all()
    damage(place_of(tmp_path / "bytes", kinds(lines, "file")[0]["sha256"]))
    with pytest.raises(BadLine, match=code):
        importer.import_lines(lines, files=Incoming(tmp_path / "bytes"))
    assert not StoredFile.objects.exists()
    assert usage.of(get_user_model().objects.get(username="owner").pk) == 0
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_an_export_with_files_is_not_imported_without(tasks: list[Task], tmp_path: Path) -> None:
    lines = exported(tmp_path / "bytes")
    with pytest.raises(BadLine, match="files_needed"):
        importer.import_lines(lines)


def test_another_file_of_the_same_id_is_refused(
    tasks: list[Task], upload: Upload, tmp_path: Path
) -> None:
    lines = exported(tmp_path / "bytes")
    taken = kinds(lines, "file")[0]["id"]
    StoredFile.objects.filter(pk=taken).update(sha256="0" * 64)
    with pytest.raises(BadLine, match="id_taken"):
        importer.import_lines(lines, files=Incoming(tmp_path / "bytes"))


def test_what_an_interrupted_import_has_left_is_written_again(
    owner_id: UserId, tasks: list[Task], tmp_path: Path
) -> None:
    lines = exported(tmp_path / "bytes")
    used = usage.of(owner_id)
    half = kinds(lines, "file")[0]["id"]
    StoredFile.objects.filter(pk=half).update(state=State.WRITING, received=1)
    counts = importer.import_lines(lines, files=Incoming(tmp_path / "bytes"))
    assert (counts.new["file"], counts.there["file"]) == (1, 2)
    assert usage.of(owner_id) == used


def test_a_task_gets_no_file_of_another_user(
    owner_id: UserId, other_id: UserId, tasks: list[Task], upload: Upload, tmp_path: Path
) -> None:
    foreign = upload(owner=other_id)
    lines = exported(tmp_path / "bytes")
    stolen = kinds(lines, "task")[1]
    stolen |= {"id": stolen["id"] + 1000, "inputs": [foreign.pk], "outputs": []}
    changed = [*lines[:-1], json.dumps(stolen).encode() + b"\n", lines[-1]]
    counts = importer.import_lines(changed, files=Incoming(tmp_path / "bytes"))
    assert counts.missing_files == 1
    assert records.of_tasks(Task.objects.filter(pk=stolen["id"])) == {}


def test_numbers_keep_their_digits_and_only_files_change() -> None:
    schema: dict[str, Any] = {
        "$defs": {"F": {"type": "integer", "format": "taskyard-file"}},
        "properties": {
            "a": {"anyOf": [{"$ref": "#/$defs/F"}, {"type": "null"}]},
            "b": {"type": "integer"},
            "c": {"additionalProperties": {"prefixItems": [{"$ref": "#/$defs/F"}]}},
        },
    }
    text = '{"a": 1, "b": 1, "c": {"Ünï": [1, 1]}, "d": [1.10, 1e400, null, true, "\\"1"]}'
    assert renumber(text, schema, {1: 2}) == (
        '{"a":2,"b":1,"c":{"Ünï":[2,1]},"d":[1.10,1e400,null,true,"\\"1"]}'
    )


def test_damaged_bytes_are_left_out_and_counted(
    tasks: list[Task], folder: Path, tmp_path: Path
) -> None:
    cut, lost, kept = StoredFile.objects.order_by("pk")
    (folder / cut.key).write_bytes(b"")
    (folder / lost.key).unlink()
    outgoing = Outgoing(tmp_path / "bytes")
    assert [row["id"] for row in outgoing.rows(0)] == [kept.pk]
    assert outgoing.damaged == [cut.pk, lost.pk]


def test_an_output_that_only_another_task_uses_is_exported(
    owner_id: UserId, tasks: list[Task], tmp_path: Path
) -> None:
    output = StoredFile.objects.get(role="output")
    used = {"image": output.pk, "others": []}
    later = lifecycle.submit(
        owner_id, intake.parse_task({"task_type": "files-test-transfer", "input_data": used})
    )
    Task.objects.filter(pk=output.task_id).delete()
    sweep.sweep()
    lines = exported(tmp_path / "bytes")
    assert output.pk in [row["id"] for row in kinds(lines, "file")]
    before = seen(owner_id)
    assert before[-1][0] == later.pk
    lifecycle.cancel(later.pk, by_id=owner_id)
    forget_all()
    counts = importer.import_lines(lines, files=Incoming(tmp_path / "bytes"))
    assert counts.missing_files == 0
    assert seen(get_user_model().objects.get(username="owner").pk) == [
        (task_id, [("input", name, data) for _, name, data in files] if files else files)
        for task_id, files in before
    ]


@pytest.mark.parametrize("new_ids", [True, False])
def test_an_import_that_goes_on_after_a_day_has_its_files(
    tasks: list[Task], tmp_path: Path, new_ids: bool
) -> None:
    lines = exported(tmp_path / "bytes")
    forget_all()
    incoming = Incoming(tmp_path / "bytes")
    without_tasks = [line for line in lines if json.loads(line)["kind"] not in ("task", "end")]
    with pytest.raises(BadLine):
        importer.import_lines(without_tasks, new_ids=new_ids, files=incoming)
    kept, *_ = StoredFile.objects.order_by("pk")
    StoredFile.objects.exclude(pk=kept.pk).update(expires_at=datetime(2026, 1, 1, tzinfo=UTC))
    sweep.sweep()
    assert StoredFile.objects.count() == 1
    StoredFile.objects.update(expires_at=datetime.now(UTC) + timedelta(seconds=1))
    assert incoming.keep([kept.pk, kept.pk + 1]) == {kept.pk}
    kept.refresh_from_db()
    assert kept.expires_at is not None
    assert kept.expires_at > datetime.now(UTC) + timedelta(hours=23)
    counts = importer.import_lines(lines, new_ids=new_ids, files=incoming)
    assert (counts.missing_files, counts.new["file"], counts.there["file"]) == (0, 2, 1)
    owner_id = get_user_model().objects.get(username="owner").pk
    assert [len(files) for _, files in seen(owner_id)] == [3, 2]


def test_files_under_names_of_a_pattern_are_renumbered() -> None:
    schema = TypeAdapter(
        dict[Annotated[str, StringConstraints(pattern="^[a-z]+$")], list[InputFile]]
    ).json_schema()
    assert "patternProperties" in schema
    assert renumber('{"a":[1],"b":[2,1]}', schema, {1: 7}) == '{"a":[7],"b":[2,7]}'


class Leaf(BaseModel):
    file: InputFile


class Both(BaseModel):
    op: Literal["both"]
    left: "Both | Either | Leaf"
    right: "Both | Either | Leaf"


class Either(BaseModel):
    op: Literal["either"]
    left: "Both | Either | Leaf"
    right: "Both | Either | Leaf"


def test_a_union_that_refers_to_itself_takes_no_longer_with_depth() -> None:
    before, after = (f'{{"file":{number}}}' for number in (1, 2))
    for _ in range(100):
        before, after = (
            f'{{"op":"both","left":{inner},"right":{{"file":3}}}}' for inner in (before, after)
        )
    assert renumber(before, Both.model_json_schema(), {1: 2}) == after
