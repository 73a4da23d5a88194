"""The command line with proxies, encodings, folders, terminals and unusual texts."""

import codecs
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.client.conftest import Prompt
from tests.contract.client import PASSWORD
from tests.live_system import Live
from tests.servers import free_port

pytestmark = pytest.mark.servers
STEERING = "\x1b[31mred\x07\x9b1m\u202eback"


def one_line(text: str) -> str:
    assert "Traceback" not in text
    assert text.count("\n") == 1, text
    return text


@pytest.mark.parametrize("name", ["ALL_PROXY", "HTTP_PROXY", "all_proxy", "http_proxy"])
@pytest.mark.parametrize("value", ["socks5://127.0.0.1:1", "http://127.0.0.1:1", "nonsense://x"])
def test_this_machine_is_asked_past_every_proxy(prompt: Prompt, name: str, value: str) -> None:
    assert prompt.type("whoami", **{name: value, "NO_PROXY": "[::"}).code == 0


@pytest.mark.parametrize(
    "environment",
    [
        {"ALL_PROXY": "socks5://127.0.0.1:1"}, {"HTTPS_PROXY": "nonsense://x"},
        {"SSL_CERT_FILE": "/no/such/file"}, {"HTTPS_PROXY": "http://["},
    ],
)  # fmt: skip
def test_a_proxy_or_certificate_that_is_of_no_use_is_one_line(
    nobody: Prompt, environment: dict[str, str]
) -> None:
    there = {"TASKYARD_URL": "https://tasks.invalid", "TASKYARD_TOKEN": "x"}
    ran = nobody.type("list", **there, **environment)
    assert ran.code == 5
    one_line(ran.err)


@pytest.mark.parametrize("url", ["http://[", "http://a:port", "http://", "ftp://x", "http://a b"])
def test_an_address_that_is_none_is_wrong_usage(nobody: Prompt, url: str) -> None:
    ran = nobody.type("list", TASKYARD_URL=url, TASKYARD_TOKEN="x")
    assert ran.code == 2
    assert "Traceback" not in ran.err


def test_a_bad_token_of_the_environment_is_named(nobody: Prompt) -> None:
    ran = nobody.type("list", TASKYARD_TOKEN="nonsense")
    assert ran.code == 3
    assert "TASKYARD_TOKEN" in one_line(ran.err)
    for token in ("two words", "ключ", "line\nline"):
        ran = nobody.type("list", TASKYARD_TOKEN=token)
        assert ran.code == 2
        assert "TASKYARD_TOKEN" in ran.err


@pytest.mark.parametrize("command", ["show", "watch", "logs", "retry", "cancel"])
def test_a_task_that_is_not_there_is_named(prompt: Prompt, command: str) -> None:
    ran = prompt.type(command, "987654321")
    assert ran.code == 4
    assert "987654321" in one_line(ran.err)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[]", b'{"url": 5, "access": 6}', b"[" * 99]
)
def test_a_login_file_that_cannot_be_read_is_no_login(nobody: Prompt, content: bytes) -> None:
    folder = nobody.home / "taskyard"
    folder.mkdir()
    (folder / "login.json").write_bytes(content)
    ran = nobody.type("list")
    assert ran.code == 3
    assert "taskyard login" in one_line(ran.err)


def test_a_folder_that_cannot_be_written_is_one_line(nobody: Prompt) -> None:
    (nobody.home / "taskyard").write_text("in the way")
    ran = nobody.type("login", "somebody-new", "--register", typed=f"{PASSWORD}\n")
    assert ran.code == 2
    assert "taskyard" in one_line(ran.err)


def test_a_reader_that_leaves_and_closed_streams_are_no_fault(prompt: Prompt) -> None:
    for _ in range(3):
        prompt.type("submit", "countdown", "seconds:=9", "--delay", "90")
    taskyard = f"{sys.executable} -m taskyard"
    for script in (
        f"{taskyard} list | true", f"{taskyard} list >&-", f"{taskyard} whoami 2>&-",
        f"{taskyard} list --json | head -1", f"{taskyard} login ann <&-",
    ):  # fmt: skip
        ran = subprocess.run(
            ["sh", "-c", script], env=prompt.env, capture_output=True, text=True, check=False
        )
        assert "Traceback" not in ran.stderr, script
        assert "Exception" not in ran.stderr, script


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "utf-8"])
def test_files_of_every_usual_encoding_are_read(prompt: Prompt, encoding: str) -> None:
    def write(name: str, text: str) -> None:
        mark = codecs.BOM_UTF16_LE if encoding == "utf-16-le" else b""
        (prompt.home / name).write_bytes(mark + text.encode(encoding))

    write("lines", '{"numbers": [1]}\r\n{"numbers": [2]}\r\n')
    ran = prompt.type("bulk", "lines", "--type", "sum")
    assert (ran.code, ran.out[:7]) == (0, "2 tasks"), ran.err
    write("numbers", "[1, 2]")
    ran = prompt.type("submit", "sum", "numbers:=@numbers", "--wait")
    assert (ran.code, ran.out) == (0, '{"result": 3}\n'), ran.err
    write("input", '{"numbers": [5]}')
    for words in (
        ("submit", "sum", "--input", "input", "--wait"),
        ("submit", "sum", "--input", "-", "--wait"),
        ("bulk", "-", "--type", "sum"),
    ):
        with (prompt.home / "input").open("rb") as file:
            command = [sys.executable, "-m", "taskyard", *words]
            piped = subprocess.run(
                command,
                env=prompt.env,
                cwd=prompt.home,
                stdin=file,
                capture_output=True,
                check=False,
            )
        assert piped.returncode == 0, piped.stderr


def test_an_encoding_that_is_not_known_is_named(prompt: Prompt) -> None:
    for content, said in (
        ("[1]".encode("utf-16-le"), "UTF-16"), ('"ü"'.encode("latin-1"), "not UTF-8 at byte 1"),
    ):  # fmt: skip
        (prompt.home / "f").write_bytes(content)
        ran = prompt.type("submit", "sum", "numbers:=@f")
        assert ran.code == 2
        assert said in ran.err


def test_nothing_that_a_handler_says_steers_the_terminal(
    new_live: Callable[..., Live], new_prompt: Callable[[Live], Prompt], tmp_path: Path
) -> None:
    (tmp_path / "steering.py").write_text(
        "from taskyard import Fail, Run, task_type\n"
        f"SAID = {STEERING!r}\n"
        "@task_type('steers', label=SAID)\n"
        "def steers(run: Run, fails: bool = False) -> str:\n"
        "    run.log(SAID + '\\n2026-01-01 00:00:00 forged')\n"
        "    run.progress(1, total=2, message=SAID)\n"
        "    if fails:\n"
        "        raise Fail('broken', SAID)\n"
        "    return SAID\n"
    )
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    live = new_live(PYTHONPATH=path, TASKYARD_TASK_TYPES="steering")
    prompt = new_prompt(live)
    done = prompt.type("submit", "steers", "--wait")
    assert json.loads(done.out) == STEERING
    failed = prompt.type("submit", "steers", "fails:=true", "--wait")
    number = json.loads(prompt.type("list", "--json", "--limit", "1").out)["id"]
    ran = [
        *(done, failed, prompt.type("types"), prompt.type("types", "steers"), prompt.type("list")),
        *(prompt.type(word, str(number)) for word in ("show", "logs", "watch")),
        *(prompt.type(word, str(number), "--json") for word in ("show", "logs")),
    ]
    for each in ran:
        printed = each.out + each.err
        assert not set("\x1b\x07\x9b\u202e") & set(printed), printed
    assert "\\x1b[31mred" in prompt.type("logs", str(number)).out
    assert "\n  2026-01-01 00:00:00 forged" in prompt.type("logs", str(number)).out
    assert "\x1b[31mred" in prompt.type("logs", str(number), "--raw").out
    assert "\x1b[31mred" in prompt.type("show", str(number), "--raw").out


def test_an_encoding_that_lacks_a_letter_is_no_fault(prompt: Prompt) -> None:
    poor = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = prompt.type("submit", "countdown", "seconds:=1", "--wait", **poor)
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"message": "Обратный отсчёт завершён"}
    assert prompt.type("types", LC_ALL="ru_RU.UTF-8", **poor).code == 0


def test_the_command_line_finds_what_runs_in_its_folder(prompt: Prompt, tmp_path: Path) -> None:
    """As after `PORT=8320 make up`, TASKYARD_HOME holds the address while it runs."""
    folder = tmp_path / "project"
    (folder / ".taskyard").mkdir(parents=True)
    live_url = prompt.env["TASKYARD_URL"]
    (folder / ".taskyard" / "web-url").write_text(live_url)
    environment = {name: value for name, value in prompt.env.items() if name != "TASKYARD_URL"}
    environment["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    saved = tmp_path / "config" / "taskyard" / "login.json"
    saved.parent.mkdir(parents=True)

    def asked() -> str:
        ran = subprocess.run(
            [sys.executable, "-m", "taskyard", "login", "nobody-there"],
            env=environment, cwd=folder, input="wrong password\n", capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        return f"{ran.returncode} {ran.stderr}"

    assert asked().startswith("3 ")
    gone = {"url": f"http://127.0.0.1:{free_port()}", "access": "a", "refresh": None}
    saved.write_text(json.dumps(gone))
    assert asked().startswith("3 ")  # an earlier login on another port has lower priority
    saved.write_text(json.dumps({**gone, "url": "https://tasks.invalid"}))
    assert "tasks.invalid" in asked()


def test_up_leaves_its_address(tmp_path: Path) -> None:
    from tests.live_system import clean_environment

    home = tmp_path / "home"
    up = subprocess.Popen(
        [sys.executable, "-m", "taskyard.server.cli", "up"],
        env={**clean_environment(), "TASKYARD_HOME": str(home), "PORT": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert up.stdout is not None
        ready = up.stdout.readline()
        address = home / "web-url"
        assert f"{address.read_text()}/" in ready
        assert stat.S_IMODE(address.stat().st_mode) == 0o600
    finally:
        up.terminate()
        up.communicate(timeout=60)
    assert not (home / "web-url").exists()
