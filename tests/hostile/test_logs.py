"""The log of the whole hostile programme."""

import json

import pytest

from tests.hostile.attack import Attack
from tests.live_system import Live

pytestmark = pytest.mark.servers


def test_the_log_keeps_secrets(attack: Attack, hostile: Live, secret_texts: set[str]) -> None:
    """the log: no password, no token, no value of an input; no fault of ours"""
    # Log in and submit at least once, also when this test runs alone.
    user = attack.user()
    canary = attack.canary()
    for task_type in ("repeats", "refuses", "breaks"):
        user.wait(user.submit(task_type, {"text": canary}))
    log = hostile.log.read_text(errors="replace")
    for text in secret_texts:
        lines = [line for line in log.splitlines() if text in line]
        assert not lines, f"{text} stands in the log: {lines[0][:1000]}"
    lines = log.splitlines()
    errors = [json.loads(line) for line in lines if '"level": "ERROR"' in line]
    # Django logs an attack that it has refused as an error.
    faults = [each for each in errors if not each["logger"].startswith("django.security")]
    assert not faults, faults[:3]
    attack.note(f"{len(lines):,} lines, none of {len(secret_texts):,} secrets")
