"""Fixtures for the command line and the client library on a live system."""

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


def heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


class Prompt:
    """A user of the command line, with an environment of its own."""

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
            # If the suite runs in the background of a shell, children inherit an ignored SIGINT.
            preexec_fn=heed_interrupts,
        )

    def type(self, *words: str, typed: str = "", **environment: str) -> Ran:
        """Run a command to its end."""
        process = self.start(*words, **environment)
        out, err = process.communicate(typed, timeout=120)
        return Ran(process.returncode, out, err)

    def log_in(self) -> None:
        name = f"user-{secrets.token_hex(6)}"
        ran = self.type("login", name, "--register", typed=f"{PASSWORD}\n")
        assert ran.code == 0, ran.err


@pytest.fixture
def nobody(live: Live, tmp_path: Path) -> Prompt:
    """A user of the command line without a login."""
    return Prompt(live.url, tmp_path)


@pytest.fixture
def prompt(nobody: Prompt) -> Prompt:
    """A user of the command line with a login."""
    nobody.log_in()
    return nobody


@pytest.fixture
def new_prompt(tmp_path: Path) -> Callable[[Live], Prompt]:
    def make(live: Live) -> Prompt:
        made = Prompt(live.url, tmp_path)
        made.log_in()
        return made

    return make
