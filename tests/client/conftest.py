"""Fixtures: a client, and a command line in a process of its own, against a live system."""

import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from taskyard.client import Client
from tests.contract.client import PASSWORD
from tests.live_system import Live, clean_environment

NewClient = Callable[..., Client]


@pytest.fixture
def new_client() -> Iterator[NewClient]:
    """`new_client(url, **options)`: a client of a new user, closed at the end."""
    with ExitStack() as stack:

        def make(url: str, **options: Any) -> Client:
            client = stack.enter_context(Client(url, **{"language": "en", **options}))
            name = f"user-{secrets.token_hex(6)}"
            client.register(name, PASSWORD)
            client.login(name, PASSWORD)
            return client

        yield make


@pytest.fixture
def client(live: Live, new_client: NewClient) -> Client:
    return new_client(live.url)


def restore_sigint() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


class Prompt:
    """A command line with its own environment and configuration folder."""

    def __init__(self, url: str, home: Path) -> None:
        self.home = home
        self.env = {
            **clean_environment(),
            "XDG_CONFIG_HOME": str(home),
            "TASKYARD_URL": url,
            "LC_ALL": "en_GB.UTF-8",
            "PYTHONWARNINGS": "error",
        }
        for name in ("TASKYARD_TOKEN", "NO_COLOR"):
            self.env.pop(name, None)

    def start(self, *words: str, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "taskyard", *words],
            env={**self.env, **environment},
            cwd=self.home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # If the suite runs in the background of a shell, processes inherit an ignored SIGINT.
            preexec_fn=restore_sigint,
        )

    def type(self, *words: str, typed: str = "", **environment: str) -> Ran:
        """Run a command until it exits."""
        process = self.start(*words, **environment)
        out, err = process.communicate(typed, timeout=120)
        return Ran(process.returncode, out, err)

    def log_in(self) -> None:
        name = f"user-{secrets.token_hex(6)}"
        ran = self.type("login", name, "--register", typed=f"{PASSWORD}\n")
        assert ran.code == 0, ran.err


@pytest.fixture
def nobody(live: Live, tmp_path: Path) -> Prompt:
    """A command line that is not logged in."""
    return Prompt(live.url, tmp_path)


@pytest.fixture
def prompt(nobody: Prompt) -> Prompt:
    """A command line that is logged in."""
    nobody.log_in()
    return nobody


@pytest.fixture
def new_prompt(tmp_path: Path) -> Callable[[Live], Prompt]:
    def make(live: Live) -> Prompt:
        prompt = Prompt(live.url, tmp_path)
        prompt.log_in()
        return prompt

    return make
