"""No text of a template escapes translation."""

import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent.parent / "src/taskyard"
TEMPLATES = [*(SOURCE / "web").rglob("*.html"), *(SOURCE / "server").rglob("*.html")]
# Names, which are the same in every language.
NAMES = {"Taskyard", "JSON", "Python", "curl", "Русский", "English", "UTC"}
SAID = re.compile(r'(?:aria-label|title|placeholder|alt|data-hint)="([^"{]*[A-Za-z][^"{]*)"')


@pytest.mark.parametrize("template", sorted(TEMPLATES), ids=lambda path: path.name)
def test_every_text_of_a_template_is_translated(template: Path) -> None:
    text = template.read_text()
    assert SAID.findall(text) == []
    text = re.sub(r"{% blocktranslate.*?{% endblocktranslate %}", "", text, flags=re.DOTALL)
    text = re.sub(r"{% block main_class %}\w+", "", text)
    text = re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}", "", text, flags=re.DOTALL)
    text = re.sub(r"<(pre|code)\b.*?</\1>", "", text, flags=re.DOTALL)
    words = re.findall(r"[^\W\d_]{2,}", re.sub(r"<[^>]*>", " ", text))
    assert set(words) <= NAMES
