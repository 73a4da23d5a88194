"""`taskyard export --mine` writes the user's tasks over the API, in the operator's format."""

import json
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model

from taskyard.client import Client
from taskyard.core import history
from taskyard.core.models import Task
from taskyard.core.transfer import importer, lines
from tests.client.conftest import Prompt
from tests.contract.client import PASSWORD
from tests.live_system import Live

pytestmark = [pytest.mark.servers, pytest.mark.django_db]

EXACT = {"base": 2**80 + 1, "exponent": 1}


def log_in(prompt: Prompt, url: str) -> tuple[str, Client]:
    """Log the command line in, and return a client of the same user."""
    name = f"user-{secrets.token_hex(6)}"
    ran = prompt.type("login", name, "--register", typed=f"{PASSWORD}\n")
    assert ran.code == 0, ran.err
    client = Client(url, language="en")
    client.login(name, PASSWORD)
    return name, client


def test_own_tasks_are_exported_and_imported_elsewhere(
    new_live: Callable[..., Live], tmp_path: Path
) -> None:
    live = new_live(TASKYARD_SHOW_TRACEBACKS="1")
    prompt = Prompt(live.url, tmp_path)
    other, others_client = log_in(prompt, live.url)
    others_client.submit("sum", {"numbers": [1]})
    name, client = log_in(prompt, live.url)
    with client, others_client:
        power = client.wait(client.submit("power", EXACT, tags=["ß"], priority="high").id)
        raised = client.wait(client.submit("raises", {"message": "é\u2028"}).id)
        retried = client.wait(client.retry(raised.id).id)
        said = client.wait(client.submit("says-much", {"times": 3}).id)
        long = client.wait(client.submit("returns-much", {"size": 20_000}).id)
        asleep = client.submit("sum", {"numbers": [1]}, delay=3600)
        cancelled = client.cancel(client.submit("sum", {"numbers": [1]}, delay=3600).id)
    ran = prompt.type("export", "--mine", "all.jsonl")
    assert (ran.code, ran.out) == (0, ""), ran.err
    file = tmp_path / "all.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    raw = file.read_bytes().splitlines(keepends=True)
    parsed = [lines.parse(number, line) for number, line in enumerate(raw, 1)]
    assert [line.kind for line in parsed] == ["header", *["task"] * 7, "end"]
    assert other not in file.read_text()
    assert importer.import_lines(raw).new == {"task": 7}
    owner = get_user_model().objects.get_by_natural_key(name)
    assert not owner.has_usable_password()
    for before in (power, raised, retried, said, long, asleep, cancelled):
        task = Task.objects.get(id=before.id)
        assert (task.owner_id, task.status) == (owner.pk, before.status)
        assert (task.created_at, task.run_at) == (before.created_at, before.run_at)
        assert (task.started_at, task.finished_at) == (before.started_at, before.finished_at)
        assert (task.input_data, task.retry_of_id) == (before.input_data, before.retry_of)
        assert task.result == (before.result if before.succeeded else None)
        assert task.attempt == before.attempt
    assert Task.objects.get(id=power.id).result == 2**80 + 1
    assert Task.objects.get(id=power.id).priority == 2
    assert Task.objects.get(id=asleep.id).wake_at == asleep.run_at
    first, second = history.attempts(Task.objects.get(id=raised.id))
    assert (first.outcome, second.outcome) == ("failed", "error")
    assert "é\u2028 1" in first.traceback
    assert "é\u2028 2" in second.traceback
    said_lines = Task.objects.get(id=said.id).log_lines.order_by("id")
    assert [line.message for line in said_lines] == ["line 0", "line 1", "line 2"]
    assert importer.import_lines(raw).there == {"task": 7}


def test_a_file_that_was_cut_is_continued(prompt: Prompt, live: Live) -> None:
    for number in range(3):
        prompt.type("submit", "sum", f"numbers:=[{number}]", "--wait")
    assert prompt.type("export", "whole", "--mine").code == 0
    whole = (prompt.home / "whole").read_bytes()
    body = whole[whole.index(b"\n") :]
    cut = prompt.home / "cut"
    for size in (0, 10, whole.index(b"\n") + 1, len(whole) // 2, len(whole) - 1, len(whole)):
        cut.write_bytes(whole[:size])
        ran = prompt.type("export", "cut", "--mine", "--resume")
        assert ran.code == 0, ran.err
        assert cut.read_bytes()[cut.read_bytes().index(b"\n") :] == body
    first_id = json.loads(whole.splitlines()[1])["id"]
    ran = prompt.type("export", "--mine", "--after", str(first_id))
    assert [json.loads(line)["kind"] for line in ran.out.splitlines()] == [
        *("header", "task", "task", "end"),
    ]
    ran = prompt.type("export", "whole", "--mine")
    assert ran.code == 2
    assert "this file exists" in ran.err
    cut.write_bytes(whole[: len(whole) // 2].replace(b'"owner":"', b'"owner":"x'))
    assert "another user" in prompt.type("export", "cut", "--mine", "--resume").err
    cut.write_bytes(b"something else\n")
    assert "no export of" in prompt.type("export", "cut", "--mine", "--resume").err
    assert cut.read_bytes() == b"something else\n"


def test_it_needs_a_login_and_says_whose_command_it_is(nobody: Prompt) -> None:
    ran = nobody.type("export", "--mine", "file")
    assert ran.code == 3
    assert not (nobody.home / "file").exists()
    assert "export" in nobody.type("--help").out
