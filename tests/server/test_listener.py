"""A port that stays open without a web: requests wait while webs restart, and webs share it."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from taskyard.server import child_process, listener
from tests.live_system import Live
from tests.servers import free_port

pytestmark = pytest.mark.servers


class Port:
    """The process that holds the port, and the webs that use it."""

    def __init__(self, live: Live, directory: Path) -> None:
        self.door = directory / "socket"
        self.number = free_port()
        self.url = f"http://127.0.0.1:{self.number}/livez"
        self.holder = subprocess.Popen(
            [sys.executable, listener.__file__, str(self.door), str(self.number)]
        )
        while not self.door.exists():
            time.sleep(0.02)
        self.webs: list[subprocess.Popen[bytes]] = []
        self._environment = live.env

    def start_web(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "taskyard.server.cli", "web", "--listener", str(self.door)]
        environment = {**self._environment, "PORT": str(free_port())}
        web = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
        self.webs.append(web)
        return web

    def answers(self) -> int:
        return httpx.get(self.url, timeout=60).status_code

    def close(self) -> None:
        child_process.stop([self.holder], seconds=5)
        for web in self.webs:
            web.kill()
            web.communicate()


@pytest.fixture
def port(live: Live, tmp_path: Path) -> Iterator[Port]:
    held = Port(live, tmp_path)
    yield held
    held.close()


def test_a_request_waits_while_the_web_is_replaced(port: Port) -> None:
    first = port.start_web()
    assert port.answers() == 200
    first.terminate()
    assert first.wait(timeout=30) == -signal.SIGTERM
    answers: list[int] = []
    waiting = threading.Thread(target=lambda: answers.append(port.answers()))
    waiting.start()
    port.start_web()
    waiting.join(timeout=60)
    assert answers == [200]


def test_several_webs_share_it(port: Port) -> None:
    webs = [port.start_web(), port.start_web()]
    deadline = time.monotonic() + 60
    while not all(serves(web, port.number) for web in webs):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    webs[0].kill()
    webs[0].wait()
    assert [port.answers() for _ in range(20)] == [200] * 20


def serves(web: subprocess.Popen[bytes], number: int) -> bool:
    return number in {each.laddr.port for each in psutil.Process(web.pid).net_connections()}


def test_a_web_whose_port_has_gone_leaves_to_be_started_again(port: Port) -> None:
    web = port.start_web()
    assert port.answers() == 200
    port.holder.kill()
    port.holder.wait()
    assert web.wait(timeout=30) == -signal.SIGTERM


def test_a_web_that_gets_no_port_says_so_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no process sends a listening socket at"):
        listener.take(tmp_path / "socket", seconds=0.2)
