"""Files of tasks in real worker processes, which are killed, cancelled and run out of space."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from tests import file_types
from tests.contract.client import User
from tests.faults.stage import children, lives
from tests.faults.transition_log import Truth, wait_for
from tests.live_system import Live
from tests.worker.test_outages import truth_of

pytestmark = pytest.mark.servers
# `KILLS=500` asks for so many.
KILLS = int(os.environ.get("KILLS", "30"))
AT_ONCE = 10
FILES = "SELECT id, task_id, name, state, key, size, sha256 FROM taskyard_files_storedfile"


class Row(NamedTuple):
    id: int
    task_id: int | None
    name: str
    state: str
    key: str
    size: int
    sha256: str


class Files:
    """What the database and the disk of a live system say of files."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._truth: Truth = truth_of(live)
        self.folder = live.home / "files"

    def rows(self) -> list[Row]:
        return [Row(*row) for row in self._truth.rows(FILES)]

    def ready(self, task_id: int) -> dict[str, bytes]:
        """The bytes of the files that the owner of a task sees."""
        found = {row.name: row for row in self.rows() if row.task_id == task_id}
        return {name: self.read(row) for name, row in found.items() if row.state == "ready"}

    def read(self, row: Row) -> bytes:
        data = (self.folder / row.key).read_bytes()
        assert (len(data), sha256(data).hexdigest()) == (row.size, row.sha256)
        return data

    def on_disk(self) -> set[str]:
        paths = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)) for path in paths}

    def used(self) -> int:
        return sum(row[0] for row in self._truth.rows("SELECT bytes FROM taskyard_files_fileusage"))

    def sweep(self) -> None:
        self._shell("from taskyard.files.sweep import sweep; sweep()")

    def expire_unfinished(self) -> None:
        """Let the time of the uploads be over that no process goes on with."""
        self._shell(
            "from django.db.models.functions import Now\n"
            "from taskyard.files.models import StoredFile\n"
            "StoredFile.objects.exclude(state='ready').update(expires_at=Now())"
        )

    def upload(self, user: User, name: str, data: bytes) -> int:
        """Make an input as an upload makes it."""
        return int(
            self._shell(
                "from taskyard.accounts.models import User\n"
                "from taskyard.files.writing import Writer, begin\n"
                f"owner = User.objects.get(username={user.name!r}).pk\n"
                f"writer = Writer(begin(owner, {name!r}, size=None), is_size_known=False)\n"
                f"writer.write({data!r})\n"
                "print(writer.complete().pk)"
            )
        )

    def _shell(self, script: str) -> str:
        return self._live.command("manage", "shell", "--no-imports", "-c", script)

    def are_consistent(self) -> None:
        """After a sweep: every file is seen and whole, nothing else is left, the quota is exact."""
        self.sweep()
        rows = self.rows()
        assert {row.state for row in rows} <= {"ready"}
        for row in rows:
            self.read(row)
        assert self.on_disk() == {row.key for row in rows}
        assert self.used() == sum(row.size for row in rows)


@pytest.fixture
def system(new_live: Callable[..., Live]) -> tuple[Live, User, Files]:
    live = new_live(
        TASKYARD_TASK_TYPES="tests.task_types,tests.file_types", TASKYARD_ACTIVE_LIMIT="1000"
    )
    return live, User.register(live), Files(live)


System = tuple[Live, User, Files]


def test_files_in_are_files_out(system: System) -> None:
    live, user, files = system
    data = {"one.csv": b"a,b\n1,2\n", "two.bin": bytes(range(256)) * 10}
    ids = [files.upload(user, name, content) for name, content in data.items()]
    copied = {f"copy of {name}": content for name, content in data.items()}
    for by in ("open", "path", "path"):
        task = user.wait(user.submit("files-copy", {"files": ids, "by": by}))
        assert task["status"] == "completed", task
        assert files.ready(task["id"]) == copied
    task = user.wait(user.submit("files-save-async", {"files": ids}))
    assert task["result"] == len(file_types.CONTENT), task
    assert files.ready(task["id"])["names.txt"] == b"one.csv,two.bin"
    pages = [{"image": ids[0]}]
    task = user.wait(user.submit("files-describe", {"pages": pages, "cover": ids[1]}))
    assert [entry["is_whole"] for entry in task["result"]] == [True, True]
    files.are_consistent()
    live.stop_worker()


def ended(system: System, how: str, **options: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A task of ``files-save``, when it has ended, and its files."""
    _, user, files = system
    task = user.wait(user.submit("files-save", {"how": how}, **options))
    return task, files.ready(task["id"])


def test_each_attempt_and_each_step_keeps_what_it_must(system: System) -> None:
    live, _, files = system
    task, seen = ended(system, "retry")
    assert (task["result"], seen) == (3, {"out.bin": b"attempt 3", "attempt-3.txt": b"x"})
    both = {"first.txt": b"first", "second.txt": b"second"}
    for how in ("sleep", "steps"):
        task, seen = ended(system, how)
        assert (task["status"], seen) == ("completed", both), how
    task, seen = ended(system, "threads")
    assert sorted(seen) == [f"{number}.bin" for number in range(8)]
    task, seen = ended(system, "stray")
    assert seen == {"out.bin": b"out"}
    task, seen = ended(system, "transaction", max_attempts=1)
    if "DATABASE_URL" in live.env:
        assert seen == {"out.bin": file_types.CONTENT}
    else:
        assert "On SQLite, save_file cannot be called in a transaction" in task["error"]["message"]
    time.sleep(1)  # the stray thread notices
    files.are_consistent()


def test_a_cancel_and_a_timeout_end_a_save(system: System) -> None:
    _, user, files = system
    slow = {"how": "slowly", "mib": 1000}
    task = user.submit("files-save", slow)
    wait_for("it writes", files.on_disk, seconds=30)
    assert user.http.post(f"/tasks/{task}/cancel/").status_code == 202
    assert user.wait(task, seconds=5)["status"] == "cancelled"
    assert (files.on_disk(), files.rows(), files.used()) == (set(), [], 0), "at once"
    late = user.wait(user.submit("files-save", slow, timeout=1))
    assert late["error"]["code"] == "timeout"
    assert (files.on_disk(), files.rows(), files.used()) == (set(), [], 0), "at once"
    cancelled = user.submit("files-save-async", {"files": [], "slow": True})
    wait_for("it writes", files.on_disk, seconds=30)
    assert user.http.post(f"/tasks/{cancelled}/cancel/").status_code == 202
    assert user.wait(cancelled, seconds=5)["status"] == "cancelled"
    wait_for("its thread notices", lambda: not files.rows(), seconds=10)
    files.are_consistent()


def expected(task: dict[str, Any]) -> dict[str, bytes]:
    """What ``files-save-three`` saves."""
    seed = task["input_data"]["seed"]
    sizes = (("a.bin", 100), ("b.bin", 3000), ("c.bin", 1))
    return {name: bytes([seed % 256]) * (size * 1000 + seed) for name, size in sizes}


def test_processes_killed_during_saves_leave_nothing_half(
    system: System, figure: Callable[[str, str], None]
) -> None:
    live, user, files = system
    truth = truth_of(live)
    ids: list[int] = []
    kills, looked_at = 0, set[int]()
    while kills < KILLS:
        if truth.active() < 6:
            seeds = range(len(ids), len(ids) + 6)
            ids += [user.submit("files-save-three", {"seed": seed}) for seed in seeds]
        time.sleep(random.uniform(0, 0.4))
        processes = [process for process in truth.held().values() if lives(process)]
        if not processes:
            continue
        os.kill(random.choice(processes), signal.SIGKILL)
        kills += 1
        for row in files.rows():
            if row.state == "ready" and row.id not in looked_at:
                files.read(row)
                looked_at.add(row.id)
    tasks = user.wait_for_all(ids, seconds=120)
    files.are_consistent()
    seen: dict[int | None, dict[str, Row]] = {}
    for row in files.rows():
        seen.setdefault(row.task_id, {})[row.name] = row
    outcomes = {"completed": 0, "worker_lost": 0}
    for task in tasks.values():
        found = seen.get(task["id"], {})
        outcomes[task["error"]["code"] if task["error"] else task["status"]] += 1
        if task["status"] == "completed":
            assert {name: files.read(row) for name, row in found.items()} == expected(task)
            assert task["result"] == [row.id for row in sorted(found.values())]
        else:
            assert found == {}
    figure(
        f"{kills} processes killed during saves",
        f"{outcomes}, {len(looked_at)} files seen, 0 half, 0 bytes left",
    )


def test_webs_killed_during_uploads_leave_nothing_half(
    system: System, figure: Callable[[str, str], None]
) -> None:
    live, user, files = system
    accepted: dict[int, bytes] = {}
    begun = kills = 0
    while begun < KILLS:
        contents = [os.urandom(random.randint(1, 4 * file_types.MIB)) for _ in range(AT_ONCE)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = [pool.submit(upload, user, content) for content in contents]
            time.sleep(random.uniform(0.01, 0.2))
            live.kill_web()
        live.start_web()
        live.wait_until_ready()
        begun, kills = begun + AT_ONCE, kills + 1
        for answer, content in zip(answers, contents, strict=True):
            if (file_id := answer.result()) is not None:
                accepted[file_id] = content
        ready = {row.id: row for row in files.rows() if row.state == "ready"}
        assert accepted.keys() <= ready.keys(), "what was accepted is there"
    for file_id, content in accepted.items():
        assert files.read(ready[file_id]) == content
    lost = len(files.rows()) - len(ready)
    files.expire_unfinished()
    files.are_consistent()
    figure(
        f"{kills} webs killed during {begun} uploads",
        f"{len(accepted)} accepted and whole, {lost} unfinished, 0 bytes left of them",
    )


def upload(user: User, content: bytes) -> int | None:
    """The id of the file; None if the connection was lost."""
    try:
        answer = user.http.post("/files/?name=a.bin", content=content)
    except httpx.TransportError:
        return None
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


@contextmanager
def small_disk(folder: Path, *options: str) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", ",".join(("size=5m", *options)), "taskyard", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_waited_for(system: System) -> None:
    _, user, files = system
    with small_disk(files.folder):
        (files.folder / "full").write_bytes(b"x" * 4 * file_types.MIB)
        task = user.submit("files-save", {"how": "bytes", "mib": 3})
        wait_for("it has failed", lambda: user.task(task)["attempt"] >= 2, seconds=30)
        (files.folder / "full").unlink()
        ended = user.wait(task, seconds=30)
        assert ended["status"] == "completed", ended
        (attempt, *_) = user.http.get(f"/tasks/{task}/attempts/").json()["results"]
        assert attempt["error"]["code"] == "storage_full"
        assert len(files.ready(task)["out.bin"]) == 3 * file_types.MIB
        files.are_consistent()


def test_a_read_only_folder_is_waited_for(system: System) -> None:
    _, user, files = system
    with small_disk(files.folder, "ro"):
        task = user.wait(user.submit("files-save", {"how": "bytes"}))
        assert task["error"]["code"] == "storage_unavailable"
        assert task["error"]["message"] == "Хранилище файлов не отвечает."
        assert str(files.folder) not in str(task)
    assert files.used() == 0
    files.are_consistent()


def test_a_worker_leaves_no_copies(system: System, tmp_path: Path) -> None:
    live, user, files = system
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    live.stop_worker()
    worker = live.start_worker(TMPDIR=str(scratch))
    file = files.upload(user, "data.csv", b"a,b\n")

    def copies() -> list[Path]:
        return list(scratch.rglob("data.csv"))

    def use() -> None:
        task = user.wait(user.submit("files-copy", {"files": [file], "by": "path"}))
        assert task["status"] == "completed", task

    use()
    assert [path.parts[-3] for path in copies()] == ["kept"]
    for process in children(worker.pid):
        os.kill(process, signal.SIGKILL)
    use()
    live.stop_worker(worker)
    wait_for("the worker or its reaper has removed them", lambda: not copies(), seconds=20)
    worker = live.start_worker(TMPDIR=str(scratch))
    use()
    live.kill_worker(worker)
    wait_for("the reaper has removed them", lambda: not copies(), seconds=20)
