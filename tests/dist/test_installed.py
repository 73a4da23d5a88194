"""The wheels in empty environments: the server runs, and the client runs without it."""

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from taskyard import __version__
from tests.docs.pages import READMES, blocks
from tests.live_system import Live, clean_environment
from tests.servers import ROOT, free_port
from tools import dist

pytestmark = pytest.mark.servers

READY_SECONDS = 60.0


def install(folder: Path, name: str) -> Path:
    """Install a wheel and the pinned versions of its dependencies; the environment's programs."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    wheels = folder / "dist"
    dist.main(wheels)
    # Without hashes, because pip would want one of the wheel too.
    lines = (ROOT / "requirements" / "base.txt").read_text().splitlines()
    pins = [line.removesuffix(" \\") for line in lines if line and not line.startswith((" ", "#"))]
    (folder / "pins.txt").write_text("\n".join(pins))
    pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install"]
    options = ["--quiet", "--only-binary", ":all:", "--constraint", folder / "pins.txt"]
    wheel = wheels / f"{name}-{__version__}-py3-none-any.whl"
    subprocess.run([*pip, *options, wheel], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with `taskyard`."""
    return install(tmp_path_factory.mktemp("server"), "taskyard")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with `taskyard-client`."""
    return install(tmp_path_factory.mktemp("client"), "taskyard_client")


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """No variable of this project and no home; only the wheel can be imported."""
    kept = {**clean_environment(), "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    for name in ("PYTHONPATH", "XDG_CONFIG_HOME", "VIRTUAL_ENV"):
        kept.pop(name, None)
    return {**kept, "PATH": os.defpath, **variables}


def run(
    program: Path, *arguments: str, cwd: Path, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments],
        cwd=cwd,
        env=environment(cwd, **variables),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_it_runs_from_an_empty_folder(server: Path, tmp_path: Path) -> None:
    port = free_port()
    (author,) = (block.text for block in blocks(READMES[0]) if block.language == "python")
    (tmp_path / "my_tasks.py").write_text(author)
    started_at = time.monotonic()
    up = psutil.Popen(
        [server / "taskyard", "up"],
        cwd=tmp_path,
        env=environment(tmp_path, PORT=str(port), TASKYARD_TASK_TYPES="my_tasks"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    family: list[psutil.Process] = []
    try:
        assert up.stdout.readline() == f"Taskyard is ready at http://127.0.0.1:{port}/\n"
        assert time.monotonic() - started_at < READY_SECONDS
        assert get(port, "/readyz")[0] == 200
        assert get(port, "/api/docs/")[0] == 200
        status, page = get(port, "/sign-in/")
        static = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
        assert status == 200
        assert static
        assert {get(port, path)[0] for path in static} == {200}

        program = server / "taskyard"
        assert run(
            program, "login", "newuser", "--register", cwd=tmp_path, stdin="password123\n"
        ).stdout.startswith("Logged in")
        added = run(program, "submit", "sum", "numbers:=[1, 2, 3]", "--wait", cwd=tmp_path)
        assert (added.returncode, added.stdout) == (0, '{"result": 6}\n'), added.stderr
        words = run(program, "submit", "word-count", "text=to be or", "--wait", cwd=tmp_path)
        assert words.stdout == '{"words": 3}\n'
        shown = run(program, "show", "1", cwd=tmp_path, LC_ALL="ru_RU.UTF-8").stdout
        assert "Выполнено" in shown

        family = [up, *up.children(recursive=True)]
        assert len(family) > 4
        up.send_signal(signal.SIGINT)
        assert up.wait(timeout=30) == 0
        assert psutil.wait_procs(family, timeout=2)[1] == []
    finally:
        for process in family or [up, *up.children(recursive=True)]:
            if process.is_running():
                process.kill()
        up.stdout.close()
    assert (tmp_path / ".taskyard" / "taskyard.sqlite3").exists()


def test_the_version_is_printed(server: Path, client: Path, tmp_path: Path) -> None:
    for programs in (server, client):
        assert run(programs / "taskyard", "--version", cwd=tmp_path).stdout == (
            f"taskyard {__version__}\n"
        )


def test_mypy_reads_the_types_of_the_installed_package(server: Path, tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text("from taskyard import Run\n\nkey: str = Run().key\n")
    (tmp_path / "wrong.py").write_text("from taskyard import Run\n\nkey: int = Run().key\n")
    options = ["--strict", "--python-executable", str(server / "python"), "--config-file="]
    mypy = Path(sys.executable).parent / "mypy"
    assert run(mypy, *options, "right.py", cwd=tmp_path).returncode == 0
    assert "Incompatible types" in run(mypy, *options, "wrong.py", cwd=tmp_path).stdout


def test_the_client_alone_brings_nothing_of_the_server(client: Path) -> None:
    listed = subprocess.run(
        [client / "python", "-m", "pip", "list", "--format=freeze"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = {line.partition("==")[0].lower() for line in listed.stdout.splitlines()}
    assert {"taskyard-client", "httpx"} <= names
    assert not names & {"taskyard", "django", "celery", "redis", "psycopg", "uvicorn", "uvloop"}


def test_the_client_alone_has_only_the_clients_commands(client: Path, tmp_path: Path) -> None:
    shown = run(client / "taskyard", "--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert "submit" in shown.stdout
    assert "createsuperuser" not in shown.stdout
    for arguments in (("up",), ("web", "--fd", "3"), ("manage", "migrate", "--plan")):
        refused = run(client / "taskyard", *arguments, cwd=tmp_path)
        assert refused.returncode == 2
        assert refused.stdout == ""
        assert re.fullmatch(r"taskyard: This command needs the server: .*\n", refused.stderr)


@pytest.fixture
def logged_in(client: Path, live: Live, tmp_path: Path) -> Iterator[dict[str, str]]:
    variables = {"TASKYARD_URL": live.url}
    login = ("login", "client-alone", "--register")
    run(client / "taskyard", *login, cwd=tmp_path, stdin="password123\n", **variables)
    yield variables


def test_the_client_alone_uses_a_server(
    client: Path, logged_in: dict[str, str], tmp_path: Path
) -> None:
    program = client / "taskyard"
    types = run(program, "types", cwd=tmp_path, **logged_in)
    assert types.returncode == 0, types.stderr
    assert re.search(r"^sum\t", types.stdout, re.MULTILINE)
    submit = ("submit", "sum", "numbers:=[1, 2, 3]", "--wait")
    assert run(program, *submit, cwd=tmp_path, **logged_in).stdout == '{"result": 6}\n'
    # Checked by the client: jsonschema is there.
    wrong = run(program, "submit", "sum", "numbers:=[]", cwd=tmp_path, **logged_in)
    assert wrong.returncode == 4
    assert "input_data.numbers" in wrong.stderr
    (tmp_path / "a.csv").write_bytes(b"a,b\n")
    uploaded = run(program, "files", "upload", "a.csv", cwd=tmp_path, **logged_in)
    fetch = ("files", "get", uploaded.stdout.strip(), "--output-dir", "out")
    assert run(program, *fetch, cwd=tmp_path, **logged_in).stdout == "out/a.csv\n"
    assert (tmp_path / "out" / "a.csv").read_bytes() == b"a,b\n"
