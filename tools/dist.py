"""Build the distributions: `python tools/dist.py [FOLDER]`, by default into dist/.

`taskyard` is the whole package, `taskyard-client` the client alone. Each gets an sdist, and a wheel
that is built from this sdist. hatchling writes the same bytes each time.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
CLIENT_PROJECT = ROOT / "tools" / "taskyard-client"
# What the client needs of src/taskyard.
CLIENT_SOURCES = ("__init__.py", "__main__.py", "operator_help.py", "py.typed", "client")


def build(project: Path, folder: Path) -> tuple[Path, Path]:
    """Build a project's sdist, and from it the wheel; their paths."""
    sdist = hatchling(project, folder, "sdist")
    with tempfile.TemporaryDirectory() as unpacked:
        return sdist, hatchling(unpack(sdist, Path(unpacked)), folder, "wheel")


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack an sdist in a folder; the path of its tree."""
    with tarfile.open(sdist) as archive:
        # Python 3.11 has filters since 3.11.4; later versions warn if none is set.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)
    return folder / sdist.name.removesuffix(".tar.gz")


def hatchling(project: Path, folder: Path, target: str) -> Path:
    """Build one file with the hatchling of this environment; its path."""
    program = (sys.executable, "-m", "hatchling", "build", "--target", target, "--directory")
    with tempfile.TemporaryDirectory() as built:
        subprocess.run([*program, built], cwd=project, check=True, stderr=subprocess.DEVNULL)
        (file,) = Path(built).iterdir()
        return Path(shutil.copy(file, folder))


def copy_client_project(folder: Path) -> Path:
    """Copy the client's project and its sources together."""
    shutil.copytree(CLIENT_PROJECT, folder, dirs_exist_ok=True)
    shutil.copy(ROOT / "LICENSE", folder)
    package = folder / "src" / "taskyard"
    package.mkdir(parents=True)
    for name in CLIENT_SOURCES:
        source = ROOT / "src" / "taskyard" / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, package / name, ignore=ignored)
        else:
            shutil.copy(source, package)
    return folder


def main(folder: Path) -> int:
    """Build both distributions and print the files."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as client:
        for project in (ROOT, copy_client_project(Path(client))):
            for file in build(project, folder):
                print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "dist"))
