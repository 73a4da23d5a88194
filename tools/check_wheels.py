"""Check that every pinned dependency has a wheel: `python tools/check_wheels.py [FILE]`.

For each platform and Python, pip downloads the wheels of requirements/base.txt and compares their
hashes with those in the file. pip needs no such platform or Python here. The table shows what pip
refuses; the exit code is 1 if it refuses anything.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

REQUIREMENTS = Path(__file__).parent.parent / "requirements" / "base.txt"
PYTHONS = ("3.11", "3.12", "3.13")
REFUSED = re.compile(
    r"(?:No matching distribution found for|THESE PACKAGES DO NOT MATCH THE HASHES.*?\n +)"
    r" *([A-Za-z0-9_.-]+)==",
    re.DOTALL,
)


@dataclass(frozen=True)
class Platform:
    """A system as pip's `--platform` and the environment markers name it."""

    name: str
    sys_platform: str
    machine: str
    tags: tuple[str, ...]


def _linux(machine: str) -> Platform:
    """Any Linux with glibc 2.28 or newer."""
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(28, 16, -1)]
    return Platform(f"Linux {machine}", "linux", machine, (*tags, f"manylinux2014_{machine}"))


PLATFORMS = (
    _linux("x86_64"),
    _linux("aarch64"),
    Platform("macOS 13 x86_64", "darwin", "x86_64", ("macosx_13_0_x86_64",)),
    Platform("macOS 13 arm64", "darwin", "arm64", ("macosx_13_0_arm64",)),
)


def needed(file: Path, platform: Platform, python: str) -> dict[str, str]:
    """The lines that one platform and Python need, by name, with hashes but without markers.

    pip would evaluate the markers for the system that it runs on.
    """
    environment = {
        "sys_platform": platform.sys_platform,
        "platform_machine": platform.machine,
        "python_version": python,
    }
    # Both ends of a minor version, because some markers compare the third number.
    ends = [{**environment, "python_full_version": f"{python}.{patch}"} for patch in (0, 99)]
    lines = {}
    for line in file.read_text().replace("\\\n", " ").splitlines():
        text, *hashes = re.split(r"\s+(?=--hash=)", line.strip())
        if not text or text.startswith("#"):
            continue
        requirement = Requirement(text)
        if requirement.marker is None or any(map(requirement.marker.evaluate, ends)):
            pin = f"{requirement.name}{requirement.specifier}"
            lines[requirement.name] = " ".join((pin, *hashes))
    return lines


def refused(lines: Mapping[str, str], platform: Platform, python: str) -> Iterator[str]:
    """The names of the dependencies that have no wheel with a pinned hash."""
    left = dict(lines)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        while True:
            file.write_text("\n".join(left.values()))
            output = _download(file, platform, python)
            if output is None:
                return
            found = REFUSED.search(output)
            if found is None or left.pop(found[1], None) is None:
                raise SystemExit(f"pip failed:\n{output}")
            yield found[1]


def _download(file: Path, platform: Platform, python: str) -> str | None:
    """Let pip download; what it prints if it fails."""
    options = [f"--platform={tag}" for tag in platform.tags]
    options += ["--implementation=cp", f"--python-version={python}"]
    options += ["--only-binary=:all:", "--require-hashes", "--no-deps", "--quiet"]
    program = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
    ran = subprocess.run(
        [*program, *options, "--dest", str(file.parent / "wheels"), "--requirement", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if ran.returncode == 0 else ran.stdout + ran.stderr


def main(file: Path) -> int:
    """Print the table; 1 if a wheel is missing."""
    print(f"{'platform':16} {'CPython':8} {'pinned':>6}  without a wheel of a pinned hash")
    complete = True
    for platform in PLATFORMS:
        for python in PYTHONS:
            lines = needed(file, platform, python)
            missing = ", ".join(refused(lines, platform, python))
            complete = complete and not missing
            print(f"{platform.name:16} {python:8} {len(lines):6}  {missing or '-'}", flush=True)
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if sys.argv[1:] else REQUIREMENTS))
