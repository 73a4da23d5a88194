"""The command line uploads and downloads files."""

import hashlib
import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.client.conftest import Prompt
from tests.client.faulty_proxy import FaultyProxy
from tests.live_system import Live

pytestmark = pytest.mark.servers
TABLE = b"a,b\n1,2\n"


@pytest.fixture
def files(prompt: Prompt) -> Path:
    """A folder with some files, in which the commands run."""
    for name in ("a.csv", "b.csv"):
        (prompt.home / name).write_bytes(TABLE)
    (prompt.home / "page.html").write_bytes(b"<script>alert(1)</script>")
    return prompt.home


def test_files_are_listed_fetched_and_deleted(prompt: Prompt, files: Path) -> None:
    ran = prompt.type("files", "upload", "a.csv", "page.html")
    assert (ran.code, ran.err) == (0, "")
    first, second = ran.out.split()
    listed = [json.loads(line) for line in prompt.type("files", "list", "--json").out.splitlines()]
    assert [str(file["id"]) for file in listed] == [first, second]
    assert listed[0]["sha256"] == hashlib.sha256(TABLE).hexdigest()
    rows = [row.split("\t") for row in prompt.type("files", "list").out.splitlines()]
    assert [row[:5] for row in rows] == [
        [first, "input", "a.csv", "8 B", "text/csv"],
        [second, "input", "page.html", "25 B", "text/html"],
    ]
    ran = prompt.type("files", "get", first, second, "--output-dir", "new/folder")
    assert (ran.code, ran.out) == (0, "new/folder/a.csv\nnew/folder/page.html\n")
    assert (files / "new" / "folder" / "a.csv").read_bytes() == TABLE
    assert prompt.type("files", "delete", first).code == 0
    for command in ("get", "delete"):
        ran = prompt.type("files", command, first)
        assert (ran.code, ran.out) == (4, "")
        assert f"file {first}" in ran.err
        assert f"файла {first}" in prompt.type("files", command, first, LC_ALL="ru_RU.UTF-8").err
    assert prompt.type("files", "upload", "no-such-file").code == 2
    assert prompt.type("files", "upload", "a.csv", "b.csv", "--name", "x").code == 2


def test_files_of_one_name_do_not_replace_each_other(prompt: Prompt, files: Path) -> None:
    ids = [
        prompt.type("files", "upload", "-", "--name", name, typed=text).out.strip()
        for name, text in (("o.csv", "1"), ("o.csv", "2"), ("O.csv", "3"))
    ]
    ran = prompt.type("files", "get", *ids, "--output-dir", "new")
    names = ["o.csv", f"o-{ids[1]}.csv", f"O-{ids[2]}.csv"]
    assert (ran.code, ran.out.split()) == (0, [f"new/{name}" for name in names])
    assert [(files / "new" / name).read_text() for name in names] == ["1", "2", "3"]
    # One that is missing stops the rest before the first is written.
    ran = prompt.type("files", "get", ids[0], "999999999", "--output-dir", "none")
    assert (ran.code, ran.out, (files / "none").exists()) == (4, "", False)


def test_stdin_is_uploaded(prompt: Prompt) -> None:
    ran = prompt.type("files", "upload", "-", "--name", "said.txt", "--json", typed="from a pipe")
    file = json.loads(ran.out)
    assert (file["name"], file["size"]) == ("said.txt", 11)
    ran = prompt.type("submit", "sizes", "tables=@-", "--wait", typed="12345")
    assert (ran.code, ran.out) == (0, "[5]\n"), ran.err


def test_a_submit_uploads_and_the_outputs_are_downloaded(prompt: Prompt, files: Path) -> None:
    ran = prompt.type("submit", "sizes", "tables=@a.csv", "tables=@b.csv", "--wait")
    assert (ran.code, ran.out, ran.err) == (0, "[8, 8]\n", "")
    ran = prompt.type("submit", "copies", "source=@a.csv", "--output-dir", "out", "--json")
    assert ran.code == 0, ran.err
    task = json.loads(ran.out)
    assert (files / "out" / "copy of a.csv").read_bytes() == TABLE
    number = str(task["id"])
    shown = prompt.type("show", number).out
    assert "copy of a.csv\t8 B\ttext/csv" in shown
    ran = prompt.type("download", number, "--output-dir", "all")
    assert (ran.code, ran.out) == (0, "all/copy of a.csv\n")
    ran = prompt.type("download", number, "a.csv", "--json")
    file = json.loads(ran.out)
    assert (file["path"], file["role"]) == ("a.csv", "input")
    ran = prompt.type("download", number, "b.csv")
    assert ran.code == 4
    assert "b.csv" in ran.err
    assert prompt.type("download", "999999999").code == 4
    ran = prompt.type("download", prompt.type("submit", "sum", "numbers:=[1]").out.strip())
    assert (ran.code, ran.out) == (0, "")
    assert "no files" in ran.err


def test_what_the_schema_refuses_is_not_uploaded(live: Live, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 1000)
    with FaultyProxy(live.url) as proxy:
        prompt = Prompt(proxy.url, tmp_path)
        prompt.log_in()
        proxy.paths.clear()
        for words, code, said in (
            (("image=@notes.txt",), 4, "  input_data.image: The file is text/plain"),
            (("image=@large.png",), 4, "  input_data.image: The file has more than 1000 bytes."),
            (("image=@notes.txt", "image=@large.png"), 2, "one file"),
            (("image=notes.txt",), 2, "image=@FILE"),
            (("image=@missing.png",), 2, "missing.png"),
            (("image=@.",), 2, "."),
            ((), 4, "input_data.image: This field is required."),
        ):
            ran = prompt.type("submit", "takes-image", *words)
            assert (ran.code, ran.out) == (code, ""), ran.err
            assert said in ran.err
            assert "Traceback" not in ran.err
        assert set(proxy.paths) <= {"GET /api/task-types/"}


def test_files_of_a_task_that_is_refused_are_deleted(prompt: Prompt, files: Path) -> None:
    ran = prompt.type("submit", "sizes", "tables=@a.csv", "--priority", "odd")
    assert ran.code == 4
    assert prompt.type("files", "list").out == ""


def test_a_bar_is_shown_on_a_terminal(prompt: Prompt, files: Path) -> None:
    main, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "taskyard", "files", "upload", "a.csv"],
        env={**prompt.env, "TERM": "xterm", "COLUMNS": "100"},
        cwd=files,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=side,
    )
    os.close(side)
    shown = b""
    with suppress(OSError):  # the terminal is closed when the command has ended
        while chunk := os.read(main, 65536):
            shown += chunk
    os.close(main)
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert printed.strip().isdigit()
    assert b"a.csv" in shown
    assert b"8/8 bytes" in shown
