"""The served OpenAPI document, and requests made from it by the thousand."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.client import User
from tests.hostile.attack import Attack

pytestmark = pytest.mark.servers
# How many cases at least, in rounds of their own seed: many tries of one address run out of ideas.
CASES = int(os.environ.get("HOSTILE_CASES", "2000"))
TRIES = min(400, max(10, CASES // 85))
FIRST_SEED = 20240229
# Streams do not end; tests/contract/test_live.py and test_addresses.py cover them.
STREAMS = ("tasks_events", "task_events")
# It expects success if JSON Schema cannot express a rule: of a password, a quota, two exclusive
# parameters, a moment beyond the calendar, 2.0 for an integer, a key that was used before.
EXCLUDED = "positive_data_acceptance"


def test_schemathesis(attack: Attack, tmp_path: Path) -> None:
    """schemathesis: all checks but one, coverage, fuzzing, stateful"""
    user = attack.user()
    # Enough places for every generated task.
    attack.books.execute("UPDATE taskyard_quota SET active_limit = 1000000")
    made = rounds = 0
    while made < CASES:
        made += play(attack, user, tmp_path / str(rounds), seed=FIRST_SEED + rounds)
        rounds += 1
    attack.note(f"{made:,} cases")


def play(attack: Attack, user: User, directory: Path, *, seed: int) -> int:
    """Run one round; return the number of cases."""
    directory.mkdir()
    report = directory / "report.json"
    result = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "run"),
            f"{attack.live.url}/api/schema/",
            *("--header", f"Authorization: {user.http.headers['Authorization']}"),
            *("--checks", "all", "--exclude-checks", EXCLUDED),
            *(part for name in STREAMS for part in ("--exclude-operation-id", name)),
            *("--max-examples", str(TRIES), "--seed", str(seed), "--workers", "1"),
            *("--no-shrink", "--continue-on-failure", "--request-timeout", "70", "--no-color"),
            *("--report", "json", "--report-json-path", report),
        ],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), result.stdout + result.stderr
    found = re.search(r"(\d+) generated", result.stdout)
    assert found, result.stdout
    failures = json.loads(report.read_text())["failures"]
    assert result.returncode == 0, f"{len(failures)} failures\n{result.stdout[:20_000]}"
    return int(found[1])
