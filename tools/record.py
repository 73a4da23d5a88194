"""Write docs/recording.md: a terminal in which tasks are submitted, watched and cancelled.

`python -m tools.record` starts a Taskyard of its own and types the commands."""

import os
import pty
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.live_system import Live

PAGE = Path(__file__).parent.parent / "docs" / "recording.md"
HEAD = """\
# A recording

What a terminal shows, made by `python -m tools.record`. A bar is one line that moves; here each of its states stands on a line of its own. Times are left out.

"""
TYPED = (
    "echo 'flour and water' | taskyard login baker --register",
    "taskyard submit sum numbers:='[1, 2, 3]' --wait",
    "taskyard submit countdown seconds:=3 --watch",
    "taskyard submit countdown seconds=3",
    "taskyard submit countdown seconds:=600",
    "taskyard cancel 3 --wait",
    "taskyard watch 3",
    "taskyard list",
)
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
TIME = re.compile(r"\d+:\d\d:\d\d|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S*")


def recorded(live: Live, home: Path) -> str:
    """The commands with their output."""
    environment = {
        **live.env,
        "TASKYARD_URL": live.url,
        "XDG_CONFIG_HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm",
        "NO_COLOR": "1",
        "COLUMNS": "90",
    }
    shown: list[str] = []
    for line in TYPED:
        shown.append(f"$ {line}")
        text = _typed(line, environment).replace(live.url, "http://127.0.0.1:8000")
        shown += _lines(text)
        shown.append("")
    return "\n".join(shown)


def _typed(line: str, environment: dict[str, str]) -> str:
    """The output of a command on a terminal."""
    main, side = pty.openpty()
    process = subprocess.Popen(
        ["sh", "-c", line], env=environment, stdin=side, stdout=side, stderr=side
    )
    os.close(side)
    got = b""
    while True:
        try:
            piece = os.read(main, 65536)
        except OSError:  # the last process at the other end has closed it
            break
        got += piece
        if not piece:
            break
    os.close(main)
    process.wait()
    return got.decode()


def _lines(text: str) -> Iterator[str]:
    """The readable lines: without control sequences and times, each state of a bar once."""
    last = None
    for line in re.split(r"[\r\n]+", CONTROL.sub("", text)):
        plain = TIME.sub("", line).rstrip()
        if "%" not in plain:  # a bar without a total runs to and fro
            plain = re.sub(r" *━.*━", "", plain).rstrip()
        if plain and plain != last:
            yield plain
            last = plain


def main() -> int:
    with (
        tempfile.TemporaryDirectory(prefix="taskyard-record-") as name,
        Live(Path(name) / "live", {}) as live,
    ):
        PAGE.write_text(f"{HEAD}```text\n{recorded(live, Path(name))}```\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
