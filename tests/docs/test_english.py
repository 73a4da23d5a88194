"""The English of comments, docstrings, pages and names: no word of the list below is in them.

Readers whose first language is not English must understand each line out of context. The test
finds only words and patterns without false alarms; it does not prove that a sentence is good.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT

# What to write instead, by pattern. Patterns ignore case, and a space is any white space.
WORDS = {
    r"whoever|whomever": "name the actor: the user who, a process that, a client that",
    r"whatever": "name the thing: any input, all errors, in every case",
    r"somebody|anybody|nobody|everybody": "name the actor: a user, no process, all clients",
    r"nor": "and not, or a sentence of its own",
    r"for want of|lest|whence|thence": "because there is no; so that … not; from which",
    r"(?<=,) for (?:it|they|he|she|we|there)": "because",
    r"bells?": "wake-up",
    r"vigils?": "to listen; the idle listener",
    r"verdicts?|fates?": "decision, loss reason, result",
    r"patience": "timeout, retry budget",
    r"upkeep": "maintenance",
    r"(?:the|a|its|each) guard": "watchdog",
    r"truth": "record, rows, the database decides",
    r"yards?": "system under test, installation",
    r"pace": "rate, speed, fast path",
    r"(?:is|are|was|were|be|been|being) told(?! apart| from)": "receives, is notified, gets",
    r"hears?|heard": "receives, notices",
    r"lets? go|letting go": "release, close, drop",
    r"(?:in|at) hand": "ready, held, running",
    r"he|him|his|himself": "the user, the process; they",
    r"dawdles?|ere|unheard|untold|thereof|wherein": "a word that a beginner's dictionary has",
}
# Sentences that begin so, unless they are questions or headings.
BEGINNINGS = {
    r"(?:Who|Whose)\b": "name the actor: A user who …",
    r"That (?:a|an|the|it|its|they|no) [^,;:]* (?:is|are|was|were|costs?|needs?|makes?) ": (
        "It is …, because …"
    ),
    r"Where (?!to\b)[^.;:?]*?, (?:it|they|there|that|this|the|a|an|no|one|some) ": "If, when",
    r"What (?:(?!\bCLAUSE\b)[^.;:?])*?\bVERB\b(?:(?!\bCLAUSE\b)[^.;:?])*?\bVERB\b": (
        "begin with the thing"
    ),
}
VERB = (
    r"(?:(?:can|cannot|may|must|does|do|did|will) (?:not )?\w+|is|are|was|were|has|have|had|goes"
    r"|gets|stays|stands|comes|counts|costs|waits|needs|takes|ends|pays|runs|holds|remains|follows)"
)
CLAUSE = (
    r"(?:that|which|who|whose|what|where|when|if|until|once|while|before|after|because"
    r"|also|it|they)"
)
# Parts of names in src/taskyard, divided at underscores and capitals.
PARTS = {
    "bell": "wakeup",
    "bells": "wakeups",
    "vigil": "idle_listener",
    "verdict": "reason",
    "fate": "decision",
    "patience": "timeout, retry_budget",
    "upkeep": "maintenance",
    "yard": "client, installation",
    "whoever": "the actor's name",
    "nobody": "the actor's name",
    "somebody": "the actor's name",
    "heard": "received",
}
# Whole names of classes in src/taskyard.
CLASSES = {
    "Standing": "TaskCollector, AttemptState",
    "Turn": "Consumer, FairLock",
    "Pace": "FastTypes",
    "Room": "Subscription",
    "Guard": "Watchdog",
    "Upkeep": "Maintenance",
    "News": "Batch",
    "Truth": "TransitionLog",
    "Hand": "FakeWorker",
}
# Where a word is right: by file, the texts in which it stands. Each must still be there.
ALLOWED: dict[str, tuple[str, ...]] = {}

SOURCES = sorted(
    path
    for folder in ("src/taskyard", "benchmarks", "tools", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if "node_modules" not in path.parts
)
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(DOCS.rglob("*.md")),
]
_QUESTION = re.compile(r"[^.!?;]*\?")
_QUOTED = re.compile(r"```.*?```|``.*?``|`[^`\n]*`|\"[^\"\n]*\"|“[^”]*”", re.DOTALL)
_NEITHER_NOR = re.compile(r"\b(neither\b[^.!?;]*?\b)nor\b", re.IGNORECASE)
_FORMAT = re.compile(r"^#+ .*$|\]\([^)\s]*\)|https?://\S+|^\|.*$", re.MULTILINE)
_NAME_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")


@dataclass(frozen=True)
class Passage:
    """Some lines of prose, and the number of the first."""

    line: int
    text: str


def _compiled(
    patterns: dict[str, str], frame: str, flags: int
) -> list[tuple[re.Pattern[str], str]]:
    compiled = []
    for pattern, instead in patterns.items():
        full = frame % pattern.replace("VERB", VERB).replace("CLAUSE", CLAUSE)
        compiled.append((re.compile(full.replace(" ", r"\s+"), flags), instead))
    return compiled


_WORDS = _compiled(WORDS, r"(?<![\w-])(?:%s)(?![\w-])", re.IGNORECASE)
_BEGINNINGS = _compiled(BEGINNINGS, r"(?:\A|[.!?]\s|\n\s*\n|\n(?=\s*[-*] ))\s*(?:[-*]\s+)?(%s)", 0)


def faults(passage: Passage) -> Iterator[tuple[int, str]]:
    """The line and the text of each fault in a passage; what stands in quotes is left out."""
    text = _NEITHER_NOR.sub(r"\1···", _QUOTED.sub(_blank, passage.text))
    for pattern, instead in [*_WORDS, *_BEGINNINGS]:
        for match in pattern.finditer(text):
            # A group is the part of a sentence behind the end of the one before.
            start = match.start(pattern.groups and 1)
            if pattern.groups and _QUESTION.match(text, start):
                continue
            line = passage.line + text.count("\n", 0, start)
            words = " ".join(match.group(pattern.groups and 1).split())
            yield line, f"“{words}” (write: {instead})"


def prose_of_python(source: str) -> list[Passage]:
    """The comments and docstrings of a module; comments on consecutive lines are one passage."""
    passages: list[Passage] = []
    lines: list[str] = []
    last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line, column = token.start
        alone = not token.line[:column].strip()
        if not (alone and lines and line == last + 1):
            _close(passages, lines, last)
        lines.append(token.string.lstrip("#: "))
        last = line
        if not alone:
            _close(passages, lines, last)
    _close(passages, lines, last)
    for node in ast.walk(ast.parse(source)):
        # Also the texts below attributes, which are no docstrings to Python.
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            passages.append(Passage(node.lineno, node.value.value))
    return passages


def prose_of_page(text: str) -> list[Passage]:
    """The text of a page without code, headings, tables' frames, and the targets of links."""
    text = re.sub(r"^```.*?^```$", _blank, text, flags=re.DOTALL | re.MULTILINE)
    cells = [
        Passage(text.count("\n", 0, row.start()) + 1, cell)
        for row in re.finditer(r"^\|.*$", text, re.MULTILINE)
        for cell in row.group().strip("|").split(" | ")
    ]
    headings = [
        Passage(text.count("\n", 0, row.start()) + 1, row.group() + "?")  # as a question
        for row in re.finditer(r"^#+ .*$", text, re.MULTILINE)
    ]
    return [*headings, *cells, Passage(1, _FORMAT.sub(_blank, text))]


def names(source: str) -> Iterator[tuple[int, str, bool]]:
    """Each name that a module defines: its line, the name, and whether it is a class."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ClassDef(name=name):
                yield node.lineno, name, True
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name, False
            case ast.arg(arg=name):
                yield node.lineno, name, False
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name, False


def name_faults(name: str, *, is_class: bool) -> Iterator[str]:
    if is_class and (instead := CLASSES.get(name.lstrip("_"))):
        yield f"class {name} (write: {instead})"
    for part in _NAME_PART.findall(name):
        if instead := PARTS.get(part.lower()):
            yield f"{name} (write: {instead})"


def test_comments_and_docstrings_are_plain() -> None:
    _check({path: prose_of_python(path.read_text()) for path in SOURCES})


def test_pages_are_plain() -> None:
    _check({page: prose_of_page(page.read_text()) for page in PAGES})


def test_names_are_plain() -> None:
    found = []
    for path in SOURCES:
        if not path.is_relative_to(ROOT / "src"):
            continue
        name = path.relative_to(ROOT)
        found += [f"{name}: {fault}" for fault in name_faults(path.stem, is_class=False)]
        for line, defined, is_class in names(path.read_text()):
            found += [
                f"{name}:{line}: {fault}" for fault in name_faults(defined, is_class=is_class)
            ]
    assert not found, "\n" + "\n".join(found)


def test_each_exception_is_still_needed() -> None:
    for name, texts in ALLOWED.items():
        content = " ".join((ROOT / name).read_text().split())
        assert all(text in content for text in texts), name


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Rings the bell.", "bell"),
        ("A task is\ntold so.", "is told"),
        ("It waits, for it has to.", "for it"),
        ("Good. Who waits is served.", "Who"),
        ("What waits here costs nothing.", "What waits here costs"),
        ("Where none is free, the task waits.", "Where none is free,"),
        ("Both:\n- Who waits is served.", "Who"),
        ("Why? Who waits?", None),
        ("What a process runs.", None),
        ("What a new process must do before it is used.", None),
        ("What is done, in a file that costs nothing.", None),
        ("It neither sleeps nor waits.", None),
        ("It does not sleep, nor wait.", "nor"),
        ("A wake-up, for the queue.", None),
        ("Where to go on; None if there is no more.", None),
        ("Types are told apart by their name.", None),
        ('The event `bell` and the text "nobody" stay.', None),
        ("A label and a doorbell, for the user.", None),
    ],
)
def test_the_search_itself(text: str, fault: str | None) -> None:
    found = [message for _, message in faults(Passage(1, text))]
    if fault is None:
        assert not found
    else:
        assert any(f"“{fault}" in message for message in found)


def test_the_search_names_the_line() -> None:
    source = 'x = 1  # fine\n\n\n"""Do it.\n\nNobody knows.\n"""\n# A\n# bell.\n'
    found = [line for passage in prose_of_python(source) for line, _ in faults(passage)]
    assert sorted(found) == [6, 9]
    page = "# What is it\n\n```\nbell\n```\n\nA [bell](bell.md).\n\n| what | vigil |\n"
    found = [line for passage in prose_of_page(page) for line, _ in faults(passage)]
    assert sorted(found) == [7, 9]


def test_the_search_finds_names() -> None:
    source = "class Standing:\n    def ring_bell(self, fate_ids):\n        self.labels = fate_ids\n"
    found = [
        (line, fault)
        for line, name, is_class in names(source)
        for fault in name_faults(name, is_class=is_class)
    ]
    assert [line for line, _ in found] == [1, 2, 2]


def _check(passages: dict[Path, list[Passage]]) -> None:
    found = []
    for path, parts in passages.items():
        name = str(path.relative_to(ROOT))
        for passage in parts:
            text = passage.text
            for allowed in ALLOWED.get(name, ()):
                text = re.sub(re.escape(allowed).replace(r"\ ", r"\s+"), _blank, text)
            found += [
                f"{name}:{line}: {fault}" for line, fault in faults(Passage(passage.line, text))
            ]
    assert not found, f"{len(found)} places\n" + "\n".join(found)


def _close(passages: list[Passage], lines: list[str], last: int) -> None:
    if lines:
        passages.append(Passage(last - len(lines) + 1, "\n".join(lines)))
        lines.clear()


def _blank(match: re.Match[str]) -> str:
    """As many lines and characters, none of them a word, in place of a text that is not prose."""
    return re.sub(r"[^\n]", "·", match.group())
