"""Generate the synchronous client from the asynchronous one: `python tools/unasync.py`.

The script only replaces words, so both have the same methods, arguments and behaviour. A test
compares the committed files with the output.
"""

import re
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parent.parent / "src" / "taskyard" / "client"
TARGETS = {
    CLIENT / "_async.py": CLIENT / "_sync.py",
    CLIENT / "async_files.py": CLIENT / "sync_files.py",
    CLIENT / "async_sso.py": CLIENT / "sync_sso.py",
    CLIENT / "async_transfer.py": CLIENT / "sync_transfer.py",
    CLIENT / "async_transport.py": CLIENT / "sync_transport.py",
}
HEAD = '"""Generated from `{}` by `python tools/unasync.py`; edit that file instead."""'
WORDS = {
    r"import asyncio\n": "import time\n",
    r"async (def|for|with) ": r"\1 ",
    r"await ": "",
    r"asyncio\.to_thread\(([\w.]+), ": r"\1(",
    r"asyncio\.sleep": "time.sleep",
    r"asynccontextmanager": "contextmanager",
    r"Async(Client|Event|Files?|Iterator|Task|Transport)": r"\1",
    r"__a(enter|exit)__": r"__\1__",
    r"\basync_(files|sso|transfer|transport)\b": r"sync_\1",
    r"\ba(close|read|iter_bytes)\b": r"\1",
}


def generate(source: Path) -> str:
    """The synchronous version of a file."""
    text = source.read_text()
    for pattern, replacement in WORDS.items():
        text = re.sub(pattern, replacement, text)
    text = re.sub(r'\A""".*?"""', HEAD.format(source.name), text, flags=re.DOTALL)
    # The new words have other lengths: sort the imports and wrap the lines again.
    for command in (("check", "--quiet", "--fix", "--select", "I,F811"), ("format",)):
        target = TARGETS[source].name
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", target, "-"]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout
    return text


if __name__ == "__main__":
    for source, target in TARGETS.items():
        target.write_text(generate(source))
