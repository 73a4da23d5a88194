"""Names of downloads are safe with any server, and bytes are read and kept as they are."""

import hashlib
import io
import os
import threading
from pathlib import Path

import pytest

from taskyard.client.errors import TransferFailed
from taskyard.client.local_files import PartFile, Source, clean_name, target_of
from taskyard.files import names

HOSTILE = [
    "../x", "..\\..\\x", "/etc/passwd", "C:\\x", "..", ".", "", "a\0b", "a\nb", "\u202egnp.exe",
    ".bashrc", "nul", "COM1.txt", "a/", "x" * 1000, "я" * 1000 + ".png", "\ud800", "a:b", "~",
    "-rf", "🦆" * 300 + ".tar.gz", "x." + "y" * 500,
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_download_never_leaves_its_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    target = target_of(f"{folder}/", name)
    assert target.parent == folder
    with PartFile(target, 1) as part:
        part.write(b"x")
        part.complete()
    assert [path.read_bytes() for path in folder.iterdir()] == [b"x"]
    assert [*tmp_path.iterdir()] == [folder]
    assert clean_name(target.name) == target.name
    assert not target.name.startswith(".")


@pytest.mark.parametrize("name", ["photo.png", "Отчёт за май.pdf", "a b.tar.gz", "日本.csv"])
def test_a_usual_name_is_kept(name: str) -> None:
    assert clean_name(name) == names.clean(name) == name


def test_a_path_is_the_file_and_a_folder_is_where_it_goes(tmp_path: Path) -> None:
    assert target_of(tmp_path, "a") == tmp_path / "a"
    assert target_of(str(tmp_path / "b"), "a") == tmp_path / "b"
    assert target_of(f"{tmp_path}/new/", "a") == tmp_path / "new" / "a"
    assert target_of(None, "a/b") == Path("b")


def test_the_bytes_are_hashed_once_however_often_they_are_read(tmp_path: Path) -> None:
    data = os.urandom(1000)
    file = tmp_path / "photo.png"
    file.write_bytes(data)
    stream = io.BytesIO(b"before" + data)
    stream.seek(6)
    for source, name in (
        (file, "photo.png"),
        (str(file), "photo.png"),
        (data, "file"),
        (stream, "file"),
    ):
        with Source(source) as opened:
            assert (opened.name, opened.size) == (name, 1000)
            assert opened.read(0, 600) == data[:600]
            assert opened.read(100, 300) == data[100:400]
            assert opened.read(500, 600) == data[500:]
            assert opened.sha256 == hashlib.sha256(data).hexdigest()
    assert not stream.closed


def test_a_pipe_is_copied_and_its_name_is_given() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"from a pipe")
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe, Source(pipe) as source:
        assert (source.name, source.size) == ("file", 11)
        assert source.read(5, 6) == b"a pipe"
        assert source.read(0, 11) == b"from a pipe"
    with Source(b"x", "../\ud800.txt") as named:
        assert named.name.encode()


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"12345678")
    with Source(file) as source:
        os.truncate(file, 4)
        with pytest.raises(TransferFailed, match="log"):
            source.read(4, 4)


def test_a_part_goes_on_and_never_grows_beyond_the_file(tmp_path: Path) -> None:
    target = tmp_path / "data.csv"
    with PartFile(target, 10) as part:
        part.write(b"1234")
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv.part"]
    with PartFile(target, 10) as part:
        assert (part.size, part.sha256) == (4, hashlib.sha256(b"1234").hexdigest())
        part.write(b"567890")
        with pytest.raises(TransferFailed):
            part.write(b"1")
        part.complete()
    assert target.read_bytes() == b"1234567890"
    (tmp_path / "data.csv.part").write_bytes(b"of a longer file")
    with PartFile(target, 10) as part:
        assert part.size == 0
        part.write(b"new")
        part.delete()
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


def test_one_download_at_a_time_has_a_part(tmp_path: Path) -> None:
    target = tmp_path / "r.csv"
    with PartFile(target, 6) as first:
        first.write(b"first ")
        with pytest.raises(TransferFailed, match="another download"):
            PartFile(target, 6)
        with PartFile(tmp_path / "other.csv", 6):
            pass
        assert first.complete().read_bytes() == b"first "
    with PartFile(target, 6) as second:
        assert second.size == 0
    with PartFile(target, 6) as third:
        third.delete()
    assert target.read_bytes() == b"first "


def test_downloads_to_one_file_never_mix_their_bytes(tmp_path: Path) -> None:
    target = tmp_path / "r.bin"
    wrong: list[object] = []

    def download(data: bytes) -> None:
        for _ in range(500):
            try:
                with PartFile(target, len(data)) as part:
                    if part.size:
                        part.restart()
                    for start in range(0, len(data), 1000):
                        part.write(data[start : start + 1000])
                    part.complete()
            except TransferFailed:
                continue
            except OSError as error:
                wrong.append(error)
            if target.read_bytes() not in bodies:
                wrong.append("mixed")

    bodies = [bytes([number]) * 5000 for number in range(4)]
    threads = [threading.Thread(target=download, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
