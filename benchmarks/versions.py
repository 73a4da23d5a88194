"""The machine, the servers and the libraries of a measurement."""

import os
import platform
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path

from benchmarks.peers import PEERS, node
from taskyard.server import valkey
from tests import servers

BUILT_ON = ("django", "djangorestframework", "celery", "psycopg", "uvicorn")


def machine() -> str:
    """One line for the page of the table."""
    cores = len(os.sched_getaffinity(0))
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{cores} cores ({_processor()}), {gigabytes:.0f} GB, "
        f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    )


def versions() -> dict[str, str]:
    """The versions by name."""
    with tempfile.TemporaryDirectory() as directory:
        postgresql = servers.postgresql_programs(Path(directory)) / "postgres"
        found = {"PostgreSQL": _said(str(postgresql), "--version").split()[2]}
    words = dict(word.split("=", 1) for word in _said(valkey.program(), "--version").split()[2:])
    found["Valkey"] = words["v"]
    found["wrk"] = _said("wrk", "--version").split()[1].removeprefix("debian/").split("-")[0]
    found["Node.js"] = _said(node.PROGRAM, "--version").strip().removeprefix("v")
    return found | {name: metadata.version(name) for name in BUILT_ON}


def peers() -> list[dict[str, str]]:
    """The measured version of each peer, and its settings."""
    return [
        {"name": peer.name, "version": peer.version, "setting": peer.setting}
        for peer in PEERS.values()
    ]


def _said(*command: str) -> str:
    """wrk ends its version with an exit code of 1."""
    ran = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return ran.stdout or ran.stderr


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()
