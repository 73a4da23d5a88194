"""Update the translation catalogues from the source: `python tools/makemessages.py`.

It reads the gettext calls and the templates of each package that has a `locale` folder, adds new
texts to its .po files, removes texts that are gone, and compiles the .mo files. English is the
source; a new Russian text is empty until it is translated. It needs no gettext tools. The tests use
it to check that no text is missing.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import polib
from django.utils.translation.template import templatize

SOURCE = Path(__file__).parent.parent / "src" / "taskyard"
LANGUAGES = ("en", "ru")
CALLS = ("_", "gettext", "gettext_lazy")
# Django's templatize turns a template into Python calls and replaces all other text by X.
IN_TEMPLATE = re.compile(r"""(?:\b_|gettext)\(\s*u?("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*\)""")
HEADER = {"Content-Type": "text/plain; charset=UTF-8", "Content-Transfer-Encoding": "8bit"}


def packages() -> list[Path]:
    """The packages that have catalogues of their own."""
    return sorted(path.parent for path in SOURCE.rglob("locale"))


def texts(package: Path) -> list[str]:
    """The texts of a package; those of the built-in task types belong to api.

    A docstring describes a command of the client.
    """
    inner = [each for each in packages() if package in each.parents]
    files = [
        file
        for pattern in ("*.py", "*.html")
        for file in sorted(package.rglob(pattern))
        if not any(each in file.parents for each in inner)
    ]
    trees = [ast.parse(file.read_text()) for file in files if file.suffix == ".py"]
    found = {text for tree in trees for text in _called(tree)}
    found |= {text for file in files if file.suffix == ".html" for text in _shown(file)}
    if package.name == "api":
        builtin = ast.parse((SOURCE / "catalog" / "builtin.py").read_text())
        found |= set(_declared(builtin))
    if package.name == "client":
        found |= {text for tree in trees for text in _commands(tree)}
    return sorted(found)


def catalogue(package: Path, language: str) -> Path:
    return package / "locale" / language / "LC_MESSAGES" / "django.po"


def _shown(template: Path) -> Iterator[str]:
    code = templatize(template.read_text(), origin=str(template))
    for call in IN_TEMPLATE.finditer(code):
        yield str(ast.literal_eval(call[1]))


def _called(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(text)), *_]):
                if name in CALLS:
                    yield text


def _commands(tree: ast.Module) -> Iterator[str]:
    """The help texts of the functions under @command."""
    for function in tree.body:
        if not isinstance(function, ast.FunctionDef):
            continue
        if any(ast.unparse(each) == "command" for each in function.decorator_list):
            yield ast.get_docstring(function) or ""


def _declared(tree: ast.Module) -> Iterator[str]:
    """The texts of functions under @task_type: labels, first paragraphs, parameters."""
    for function in tree.body:
        if not isinstance(function, ast.FunctionDef):
            continue
        for decorator in function.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "task_type":
                options = {option.arg: option.value for option in decorator.keywords}
                yield str(ast.literal_eval(options["label"]))
                yield (ast.get_docstring(function) or "").split("\n\n")[0].replace("\n", " ")
        for node in ast.walk(function.args):
            if isinstance(node, ast.keyword) and node.arg == "description":
                yield str(ast.literal_eval(node.value))
            elif isinstance(node, ast.arg) and node.arg != "run":
                yield node.arg.replace("_", " ").capitalize()


def _all_known() -> dict[str, dict[str, str]]:
    """All existing translations of all packages, because texts move between packages."""
    return {
        language: {
            msgid: msgstr
            for package in packages()
            for msgid, msgstr in _known(catalogue(package, language)).items()
        }
        for language in LANGUAGES
    }


def _known(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    return {each.msgid: each.msgstr for each in polib.pofile(path) if each.msgstr}


def main() -> int:
    waiting = 0
    moved = _all_known()
    for package in packages():
        for language in LANGUAGES:
            path = catalogue(package, language)
            path.parent.mkdir(parents=True, exist_ok=True)
            known = moved[language] | _known(path)
            fresh = polib.POFile(wrapwidth=100)
            fresh.metadata = {"Language": language, **HEADER}
            for text in texts(package):
                translated = text if language == "en" else known.get(text, "")
                fresh.append(polib.POEntry(msgid=text, msgstr=translated))
                waiting += not translated
            fresh.save(str(path))
            fresh.save_as_mofile(str(path.with_suffix(".mo")))
    if waiting:
        sys.stderr.write(f"{waiting} texts wait for their Russian translation\n")
    return 1 if waiting else 0


if __name__ == "__main__":
    sys.exit(main())
