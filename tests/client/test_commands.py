"""The command line against a live system: what it prints, where, and its exit codes."""

import json
import os
import pty
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.client.conftest import Prompt
from tests.client.faulty_proxy import FaultyProxy
from tests.contract.client import PASSWORD
from tests.live_system import Live
from tests.servers import free_port

pytestmark = pytest.mark.servers


def test_login_keeps_the_tokens_for_the_owner_alone(nobody: Prompt) -> None:
    assert nobody.type("whoami").code == 3
    assert nobody.type("login", "ann", typed="wrong password\n").code == 3
    nobody.log_in()
    saved = nobody.home / "taskyard" / "login.json"
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert stat.S_IMODE(saved.parent.stat().st_mode) == 0o700
    profile = json.loads(nobody.type("whoami", "--json").out)
    assert profile["url"] == nobody.env["TASKYARD_URL"]
    access = json.loads(saved.read_text())["access"]
    # A token in the environment has priority; the saved one is never sent to another server.
    assert nobody.type("whoami", TASKYARD_TOKEN="nonsense").code == 3
    other = nobody.type("whoami", TASKYARD_URL=f"http://127.0.0.1:{free_port()}")
    assert other.code == 3
    assert nobody.type("logout").code == 0
    assert not saved.exists()
    assert nobody.type("list").code == 3
    assert nobody.type("list", TASKYARD_TOKEN=access).code == 0


def test_the_saved_login_is_renewed(prompt: Prompt) -> None:
    saved = prompt.home / "taskyard" / "login.json"
    login = json.loads(saved.read_text())
    saved.write_text(json.dumps({**login, "access": "expired"}))
    assert prompt.type("whoami").code == 0
    assert json.loads(saved.read_text())["access"] not in ("expired", login["access"])


def test_submit_prints_the_number_or_the_result(prompt: Prompt) -> None:
    ran = prompt.type("submit", "sum", "numbers:=[1,2,3]")
    assert (ran.code, ran.err) == (0, "")
    number = ran.out.strip()
    ran = prompt.type("submit", "sum", "numbers:=[1,2,3]", "--wait")
    assert (ran.code, ran.out, ran.err) == (0, '{"result": 6}\n', "")
    ran = prompt.type("submit", "sum", "--input", "-", "--watch", typed='{"numbers": [4]}')
    assert (ran.code, ran.out, ran.err) == (0, '{"result": 4}\n', "")
    task = json.loads(prompt.type("show", number, "--json").out)
    assert (task["id"], task["status"]) == (int(number), "completed")
    assert '{"result": 6}' in prompt.type("show", number).out
    options = ("--tag", "a", "--tag", "b", "--priority", "low", "--run-at", "2100-01-01T00:00:00Z")
    keyed = (*options, "--idempotency-key", "k", "--json")
    twice = [prompt.type("submit", "countdown", "seconds:=9", *keyed) for _ in range(2)]
    first, second = (json.loads(each.out) for each in twice)
    assert first == second
    assert (first["tags"], first["priority"]) == (["a", "b"], "low")
    assert first["run_at"] == "2100-01-01T00:00:00Z"


def test_share_prints_the_link(prompt: Prompt) -> None:
    number = prompt.type("submit", "sum", "numbers:=[1,2,3]").out.strip()
    ran = prompt.type("share", number)
    assert (ran.code, ran.err) == (0, "")
    assert re.fullmatch(r"http://\S+/shared/#tys1_[\w-]{56}\n", ran.out)
    html = prompt.type("share", number, "--html", "--expires-in", "60").out
    assert "<taskyard-progress src=" in html
    link = json.loads(prompt.type("share", number, "--files", "--json").out)
    assert link["files"] is True
    assert prompt.type("share", "999999999").code == 4
    assert prompt.type("share", number, "--expires-in", "99999999").code == 4
    assert prompt.type("share", number, "--expires-in", "0").code == 2


def test_a_task_that_fails_is_exit_code_1(prompt: Prompt) -> None:
    words = ("submit", "fails", "code=broken", "message=so it is")
    for how in ("--wait", "--watch"):
        ran = prompt.type(*words, how)
        assert (ran.code, ran.out) == (1, "")
        assert "broken: so it is" in ran.err
    ran = prompt.type(*words, "--wait", "--json")
    assert (ran.code, json.loads(ran.out)["status"]) == (1, "error")
    number = str(json.loads(ran.out)["id"])
    assert prompt.type("watch", number).code == 1
    assert prompt.type("retry", number, "--wait").code == 1


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",), ("submit",), ("submit", "sum", "no-field"), ("submit", "sum", "a:={"),
        ("show", "one"), ("show", "0"), ("list", "--nonsense"), ("types", "nonsense"),
        ("list", "--follow", "--after", "1"), ("bulk", "/no/such/file"),
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_code_2(prompt: Prompt, words: tuple[str, ...]) -> None:
    ran = prompt.type(*words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err


def test_what_is_refused_is_exit_code_4_and_names_the_field(prompt: Prompt) -> None:
    ran = prompt.type("submit", "countdown", "seconds=5")
    assert ran.code == 4
    assert "  input_data.seconds: A whole number is expected." in ran.err
    assert "seconds:=" in ran.err
    ran = prompt.type("submit", "sum", 'numbers:=[1,"x"]', LC_ALL="ru_RU.UTF-8")
    assert "  input_data.numbers[1]: Ожидается число." in ran.err
    ran = prompt.type("submit", "sum", 'numbers:=[1,"x"]', "--json")
    (error,) = json.loads(ran.err)["error"]["errors"]
    assert error["pointer"] == "/input_data/numbers/1"
    for words in (
        ("show", "999999999"), ("submit", "no-such-type"), ("list", "--status", "odd"),
        ("submit", "countdown", "seconds:=5", "--priority", "odd"),
        ("submit", "countdown", "seconds:=5", "--run-at", "tomorrow"),
    ):  # fmt: skip
        ran = prompt.type(*words)
        assert (ran.code, ran.out) == (4, "")
        assert "Traceback" not in ran.err


def test_what_the_schema_refuses_is_not_sent(live: Live, tmp_path: Path) -> None:
    with FaultyProxy(live.url) as proxy:
        prompt = Prompt(proxy.url, tmp_path)
        prompt.log_in()
        ran = prompt.type("submit", "countdown", "seconds:=0")
        assert (ran.code, ran.out) == (4, "")
        assert "  input_data.seconds: The value must be at least 1." in ran.err
        sent = [path for path in proxy.paths if path.startswith("POST /api/tasks")]
        assert not sent
        assert prompt.type("submit", "countdown", "seconds:=1").code == 0


def test_an_unreachable_server_is_exit_code_5(nobody: Prompt) -> None:
    away = {"TASKYARD_URL": f"http://127.0.0.1:{free_port()}", "TASKYARD_TOKEN": "x"}
    ran = nobody.type("list", **away)
    assert (ran.code, ran.out) == (5, "")
    assert "cannot be reached" in ran.err
    assert nobody.type("login", "ann", typed="x\n", **away).code == 5
    assert nobody.type("list", TASKYARD_URL="nonsense").code == 2


def test_list_cancel_logs_and_types(prompt: Prompt) -> None:
    numbers = [
        prompt.type("submit", "countdown", "seconds:=60", "--delay", "60", "--tag", tag).out.strip()
        for tag in ("a", "b")
    ]
    listed = [json.loads(line) for line in prompt.type("list", "--json").out.splitlines()]
    assert [str(task["id"]) for task in listed] == numbers[::-1]
    rows = prompt.type("list", "--tag", "a", "--status", "pending", "--type", "countdown").out
    assert [row.split("\t")[:3] for row in rows.splitlines()] == [
        [numbers[0], "countdown", "pending"]
    ]
    assert len(prompt.type("list", "--limit", "1").out.splitlines()) == 1
    assert prompt.type("list", "--ordering", "id", "--after", numbers[0], "--limit", "0").out
    ran = prompt.type("cancel", *numbers)
    assert (ran.code, ran.out) == (0, "".join(f"{number}  Cancelled\n" for number in numbers))
    ran = prompt.type("submit", "says-much", "times:=3", "--json")
    number = str(json.loads(ran.out)["id"])
    ran = prompt.type("logs", number, "--follow", "--json")
    assert ran.code == 0
    lines = [json.loads(line)["message"] for line in ran.out.splitlines()]
    assert len(lines) == 3
    assert prompt.type("logs", number).out.count("\n") == 3
    types = [json.loads(line) for line in prompt.type("types", "--json").out.splitlines()]
    assert {"sum", "countdown"} <= {each["name"] for each in types}
    assert '"numbers"' in prompt.type("types", "sum").out


def test_watch_prints_every_change_with_json(prompt: Prompt) -> None:
    number = prompt.type("submit", "countdown", "seconds:=1").out.strip()
    ran = prompt.type("watch", number, "--json")
    states = [json.loads(line)["status"] for line in ran.out.splitlines()]
    assert ran.code == 0
    assert states[-1] == "completed"
    assert set(states[:-1]) <= {"pending", "in_progress"}


def test_list_follows_until_it_is_stopped(prompt: Prompt) -> None:
    follower = prompt.start("list", "--follow", "--type", "sum", "--json")
    time.sleep(2)
    number = prompt.type("submit", "sum", "numbers:=[7]").out.strip()
    assert follower.stdout is not None
    for line in follower.stdout:
        task = json.loads(line)
        assert str(task["id"]) == number
        if task["status"] == "completed":
            break
    follower.send_signal(signal.SIGINT)
    _, err = follower.communicate(timeout=40)
    assert follower.returncode == 130
    assert "Traceback" not in err


def test_a_bar_moves_on_a_terminal_only(prompt: Prompt) -> None:
    main, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "taskyard", "submit", "countdown", "seconds:=5", "--watch"],
        env={**prompt.env, "TERM": "xterm", "COLUMNS": "100", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=side,
        text=True,
    )
    os.close(side)
    assert process.stdout is not None
    shown = b""
    while True:
        try:
            chunk = os.read(main, 65536)
        except OSError:
            break
        if not chunk:
            break
        shown += chunk
    os.close(main)
    printed = process.stdout.read()
    assert process.wait(timeout=10) == 0
    process.stdout.close()
    # The result of a task is not translated.
    assert json.loads(printed) == {"message": "Обратный отсчёт завершён"}
    text = shown.decode()
    assert {"20%", "40%", "60%", "80%"} & set(re.findall(r"\d+%", text)), "it did not move"
    assert "100%" in text
    assert "\x1b[3" not in text  # NO_COLOR


def test_bulk_names_the_invalid_line_and_continues_when_it_is_fixed(
    prompt: Prompt,
) -> None:
    file = prompt.home / "lines.jsonl"
    good = [{"numbers": [n]} for n in range(12)]
    lines = [json.dumps(each) for each in good]
    file.write_text("\n".join([*lines[:7], '{"numbers": ["x"]}', "", *lines[7:]]))
    ran = prompt.type("bulk", "lines.jsonl", "--type", "sum")
    assert ran.code == 4
    assert "line 8: input_data.numbers[0]: A number is expected." in ran.err
    file.write_text("\n".join([*lines[:7], "{", *lines[7:]]))
    ran = prompt.type("bulk", "lines.jsonl", "--type", "sum")
    assert ran.code == 2
    assert "line 8" in ran.err
    file.write_text("\n".join(lines))
    ran = prompt.type("bulk", "lines.jsonl", "--type", "sum", "--json")
    assert ran.code == 0, ran.err
    accepted = [json.loads(line) for line in ran.out.splitlines()]
    assert [each["line"] for each in accepted] == [*range(1, 13)]
    # The quota is 5: the first chunk was accepted before the invalid line was read.
    assert [each["replayed"] for each in accepted] == [True] * 5 + [False] * 7
    tasks = prompt.type("list", "--limit", "0", "--ordering", "id", "--json").out.splitlines()
    assert [json.loads(task)["input_data"] for task in tasks] == good
    # Other content in accepted lines is rejected.
    file.write_text("\n".join(lines[1:]))
    assert prompt.type("bulk", "lines.jsonl", "--type", "sum").code == 4
    body = json.dumps({"task_type": "sum", "input_data": {"numbers": [1]}, "tags": ["stdin"]})
    ran = prompt.type("bulk", "-", typed=f"{body}\n{body}\n")
    assert ran.out == "2 tasks; 0 of them were there before\n"


def test_a_full_quota_is_waited_for_or_not(prompt: Prompt, live: Live) -> None:
    file = prompt.home / "lines.jsonl"
    file.write_text('{"seconds": 3}\n' * 6)
    words = ("bulk", "lines.jsonl", "--type", "countdown")
    ran = prompt.type(*words, "--no-wait")
    assert ran.code == 4
    assert "5 lines are accepted" in ran.err
    assert prompt.type(*words).out == "6 tasks; 5 of them were there before\n"
    # If the quota changes, the same lines still form the same chunks.
    name = json.loads(prompt.type("whoami", "--json").out)["username"]
    accounts = f"Quota.objects.filter(user__username={name!r})"
    live.command("manage", "shell", "-c", f"{accounts}.update(active_limit=50)")
    assert prompt.type(*words).out == "6 tasks; 6 of them were there before\n"


def test_watch_polls_if_there_is_no_stream(
    new_live: Callable[..., Live], new_prompt: Callable[[Live], Prompt]
) -> None:
    live = new_live()
    prompt = new_prompt(live)
    number = prompt.type("submit", "countdown", "seconds:=2").out.strip()
    program = (
        "from wsgiref.simple_server import make_server, WSGIRequestHandler as H\n"
        "import sys; from taskyard.server.django_setup import load_django; load_django()\n"
        "from django.core.wsgi import get_wsgi_application\n"
        "make_server('127.0.0.1', int(sys.argv[1]), get_wsgi_application()).serve_forever()\n"
    )
    port = free_port()
    wsgi = subprocess.Popen(
        [sys.executable, "-c", program, str(port)],
        env=live.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        login = prompt.home / "taskyard" / "login.json"
        token = json.loads(login.read_text())["access"]
        ran = prompt.type("watch", number, TASKYARD_URL=url, TASKYARD_TOKEN=token)
        assert (ran.code, ran.out) == (0, '{"message": "Обратный отсчёт завершён"}\n'), ran.err
    finally:
        wsgi.kill()
        wsgi.wait()


def test_the_password_is_not_kept(prompt: Prompt) -> None:
    for file in Path(prompt.home).rglob("*"):
        assert file.is_dir() or PASSWORD not in file.read_text()
