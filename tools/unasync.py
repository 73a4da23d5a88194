"""Generate the synchronous client from the asynchronous one: `python tools/unasync.py`.

It replaces words only, so that both have the same methods, arguments and behaviour. A test compares
the file with the output.
"""

import re
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parent.parent / "src" / "taskyard" / "client"
FACES = {
    CLIENT / "_async.py": CLIENT / "_sync.py",
    CLIENT / "async_transport.py": CLIENT / "sync_transport.py",
}
HEAD = '"""Made from `{}` by `python tools/unasync.py`; change that."""'
WORDS = {
    r"import asyncio\n": "import time\n",
    r"async (def|for|with) ": r"\1 ",
    r"await ": "",
    r"asyncio\.sleep": "time.sleep",
    r"asynccontextmanager": "contextmanager",
    r"Async(Client|Iterator|Wire)": r"\1",
    r"__a(enter|exit)__": r"__\1__",
    r"\basync_transport\b": "sync_transport",
    r"\ba(close|read|iter_bytes)\b": r"\1",
}


def made(source: Path) -> str:
    """The text of the synchronous client."""
    text = source.read_text()
    for word, other in WORDS.items():
        text = re.sub(word, other, text)
    text = re.sub(r'\A""".*"""', HEAD.format(source.name), text)
    # Shorter names are sorted and wrapped differently.
    for how in (("check", "--quiet", "--fix", "--select", "I,F811"), ("format",)):
        ruff = [sys.executable, "-m", "ruff", *how, "--stdin-filename", FACES[source].name, "-"]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout
    return text


if __name__ == "__main__":
    for source, face in FACES.items():
        face.write_text(made(source))
