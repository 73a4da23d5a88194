"""The served OpenAPI document, and requests made from it by the thousand."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.attack import Attack

pytestmark = pytest.mark.servers
# How many cases at least; how many tries for each address make so many.
CASES = int(os.environ.get("HOSTILE_CASES", "2000"))
TRIES = max(10, CASES // 45)
# Streams do not end; tests/contract/test_live.py and test_addresses.py ask for them.
STREAMS = ("tasks_events", "task_events")
# It takes for wrong whatever JSON Schema cannot say: a password's rules, a quota, either of two
# parameters but not both, a moment beyond the calendar, 2.0 for an integer, a key used before.
EXCLUDED = "positive_data_acceptance"


def test_schemathesis(attack: Attack, tmp_path: Path) -> None:
    """schemathesis: all checks but one, coverage, fuzzing, stateful"""
    user = attack.user()
    # Enough places for every task that is made up.
    attack.books.execute("UPDATE taskyard_account SET active_limit = 1000000")
    report = tmp_path / "report.json"
    result = subprocess.run(
        [
            *(Path(sys.executable).with_name("schemathesis"), "run"),
            f"{attack.live.url}/api/schema/",
            *("--header", f"Authorization: {user.http.headers['Authorization']}"),
            *("--checks", "all", "--exclude-checks", EXCLUDED),
            *(part for name in STREAMS for part in ("--exclude-operation-id", name)),
            *("--max-examples", str(TRIES), "--seed", "20240229", "--workers", "1"),
            *("--no-shrink", "--continue-on-failure", "--request-timeout", "70", "--no-color"),
            *("--report", "json", "--report-json-path", report),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), result.stdout + result.stderr
    found = re.search(r"(\d+) generated", result.stdout)
    assert found, result.stdout
    attack.note(f"{int(found[1]):,} cases")
    failures = json.loads(report.read_text())["failures"]
    assert result.returncode == 0, f"{len(failures)} failures\n{result.stdout[:20_000]}"
    assert int(found[1]) >= CASES
