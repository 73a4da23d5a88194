"""`make dist` builds reproducible files that hold everything the package needs."""

import re
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

from taskyard import __version__
from tests.servers import ROOT
from tools import dist

PACKAGE = ROOT / "src" / "taskyard"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four files."""
    folder = tmp_path_factory.mktemp("dist")
    dist.main(folder)
    return folder


def wheel(folder: Path, name: str) -> zipfile.ZipFile:
    return zipfile.ZipFile(folder / f"{name}-{__version__}-py3-none-any.whl")


def contents(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """The files of the package in a wheel, without those of the distribution."""
    names = [name for name in archive.namelist() if name.startswith("taskyard/")]
    return {name.removeprefix("taskyard/"): archive.read(name) for name in names}


def metadata(folder: Path, name: str) -> Message:
    with wheel(folder, name) as archive:
        text = archive.read(f"{name}-{__version__}.dist-info/METADATA").decode()
    return Parser().parsestr(text)


def project(file: Path) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads(file.read_text())["project"]
    return table


def test_the_wheel_has_every_file_of_the_package(folder: Path) -> None:
    files = {
        str(path.relative_to(PACKAGE)): path.read_bytes()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with wheel(folder, "taskyard") as archive:
        assert contents(archive) == files
    suffixes = {Path(name).suffix for name in files}
    assert {".py", ".html", ".css", ".js", ".svg", ".mo"} <= suffixes
    assert "py.typed" in files


def test_the_clients_wheel_has_the_same_client_and_nothing_of_the_server(folder: Path) -> None:
    with wheel(folder, "taskyard") as whole, wheel(folder, "taskyard_client") as client:
        files, all_files = contents(client), contents(whole)
    assert all(content == all_files[name] for name, content in files.items())
    expected = {name for name in all_files if name.startswith("client/")}
    expected |= {"__init__.py", "__main__.py", "operator_help.py", "py.typed"}
    assert files.keys() == expected


@pytest.mark.parametrize("name", ["taskyard", "taskyard_client"])
def test_an_unpacked_sdist_builds_the_same_files(folder: Path, tmp_path: Path, name: str) -> None:
    tree = dist.unpack(folder / f"{name}-{__version__}.tar.gz", tmp_path)
    again = tmp_path / "dist"
    again.mkdir()
    for built in dist.build(tree, again):
        assert built.read_bytes() == (folder / built.name).read_bytes(), built.name


def test_the_tree_builds_the_same_wheel(folder: Path, tmp_path: Path) -> None:
    built = dist.hatchling(ROOT, tmp_path, "wheel")
    assert built.read_bytes() == (folder / built.name).read_bytes()


@pytest.mark.parametrize("name", ["taskyard", "taskyard_client"])
def test_the_metadata(folder: Path, name: str) -> None:
    fields = metadata(folder, name)
    assert fields["Name"] == name.replace("_", "-")
    assert fields["Version"] == __version__
    assert fields["License-Expression"] == "MIT"
    assert fields["Author"] == "Taskyard contributors"
    assert fields["Requires-Python"] == ">=3.11"
    assert fields["Description-Content-Type"] == "text/markdown"
    with wheel(folder, name) as archive:
        licence = archive.read(f"{name}-{__version__}.dist-info/licenses/LICENSE")
    assert licence == (ROOT / "LICENSE").read_bytes()


@pytest.mark.parametrize("name", ["taskyard", "taskyard_client"])
def test_the_readme_has_no_relative_link_and_no_picture(folder: Path, name: str) -> None:
    text = metadata(folder, name).get_payload()
    assert isinstance(text, str)
    assert text.startswith("# Taskyard\n" if name == "taskyard" else "# taskyard-client\n")
    assert "taskyard submit" in text
    assert "![" not in text
    for target in re.findall(r"\]\(([^)]*)\)", text):
        assert target.startswith(("http://", "https://"))


def test_the_client_needs_what_the_whole_package_needs_for_it() -> None:
    whole = project(ROOT / "pyproject.toml")
    client = project(dist.CLIENT_PROJECT / "pyproject.toml")
    assert set(client["dependencies"]) < set(whole["dependencies"])
    for field in ("requires-python", "license", "authors", "scripts"):
        assert client[field] == whole[field]
