"""Authors test handlers with files without a worker, a database or a storage."""

import hashlib
import io
from pathlib import Path
from typing import Annotated, Any

import pytest

from taskyard import Accepts, InputFile, OutputFile, Run
from taskyard.catalog.schema import Signature


def summarise(run: Run, table: InputFile) -> OutputFile:
    with table.open() as stream:
        lines = stream.read().splitlines()
    return run.save_file("lines.txt", f"{table.name}: {len(lines)}".encode())


def test_a_handler_is_called_directly_with_files(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b"a,b\n1,2\n")
    table, run = InputFile.from_path(path), Run()
    output = summarise(run, table)
    assert run.saved == {"lines.txt": b"data.csv: 2"}
    assert (output.name, output.size) == ("lines.txt", 11)
    assert (table.path, table.size, table.content_type) == (path, 8, "text/csv")
    assert table.sha256 == hashlib.sha256(b"a,b\n1,2\n").hexdigest()


def test_every_kind_of_source_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(b"bytes")
    buffer = io.BytesIO()
    buffer.write(b"bytes")
    run = Run()
    for number, source in enumerate((path, str(path), b"bytes", bytearray(b"bytes"), buffer)):
        run.save_file(f"{number}", source)
    assert set(run.saved.values()) == {b"bytes"}


@pytest.mark.parametrize("source", [io.StringIO("text"), 7, None])
def test_what_is_no_source_of_bytes_is_refused(source: object) -> None:
    with pytest.raises(TypeError, match="save_file takes"):
        Run().save_file("a", source)  # type: ignore[arg-type]


def test_a_name_is_a_text() -> None:
    with pytest.raises(TypeError, match="name of a file"):
        Run().save_file(b"a", b"")  # type: ignore[arg-type]


@pytest.mark.parametrize("around", [InputFile | None, list[InputFile], int])
def test_what_a_file_must_be_is_said_of_the_file_itself(around: Any) -> None:
    def handler(photo: Annotated[around, Accepts("image/*")]) -> int:  # type: ignore[valid-type]
        return 1

    handler.__annotations__["photo"] = Annotated[around, Accepts("image/*")]
    with pytest.raises(TypeError, match=r"handler: Accepts annotates InputFile itself"):
        Signature(handler)
