"""Every text is translated in both languages, and the compiled catalogues are up to date."""

from pathlib import Path

import polib
import pytest

from tools import makemessages

PACKAGES = makemessages.packages()
EACH = [(package, language) for package in PACKAGES for language in makemessages.LANGUAGES]

each_catalogue = pytest.mark.parametrize(
    ("package", "language"), EACH, ids=lambda value: getattr(value, "name", value)
)


def names(text: str) -> list[str]:
    return sorted(part.split(")")[0] for part in text.split("%(")[1:])


@pytest.mark.parametrize(
    ("package", "language"), EACH, ids=lambda value: getattr(value, "name", value)
)
def test_every_text_is_translated_with_its_parameters(package: Path, language: str) -> None:
    entries = {each.msgid: each for each in polib.pofile(makemessages.catalogue(package, language))}
    assert sorted(entries) == makemessages.texts(package), "run python tools/makemessages.py"
    for text, entry in entries.items():
        assert entry.msgstr, text
        assert not entry.fuzzy, text
        assert names(entry.msgstr) == names(text)


@pytest.mark.parametrize(
    ("package", "language"), EACH, ids=lambda value: getattr(value, "name", value)
)
def test_what_is_compiled_is_what_is_written(package: Path, language: str) -> None:
    path = makemessages.catalogue(package, language)
    written = {each.msgid: each.msgstr for each in polib.pofile(path)}
    compiled = {each.msgid: each.msgstr for each in polib.mofile(path.with_suffix(".mo"))}
    assert compiled == written, "run python tools/makemessages.py"


def test_each_translated_text_has_a_catalogue() -> None:
    """A module of a package without one would stay English."""
    covered = {file for package in PACKAGES for file in package.rglob("*.py")}
    others = set(makemessages.SOURCE.rglob("*.py")) - covered
    assert [str(file) for file in others if "gettext" in file.read_text()] == []
