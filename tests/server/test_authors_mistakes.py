"""Every command reports an error in a module of task types in one line: file, line, reason."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.live_system import clean_environment

CLI = ("taskyard.server.cli",)
COMMANDS = {
    "up": (*CLI, "up"),
    "web": (*CLI, "web"),
    "worker": (*CLI, "worker"),
    "migrate": (*CLI, "migrate"),
    "manage": (*CLI, "manage", "check"),
    "celery": ("celery", "-A", "taskyard.worker", "worker"),
}
HEAD = "from taskyard import Run, task_type\n\n"
MISTAKES = {
    f'{HEAD}@task_type("a")\ndef a(run: Run, text) -> int:\n    return 1\n': "line 3",
    f'{HEAD}@task_type("Bad Name!")\ndef a(run: Run) -> int:\n    return 1\n': "line 3",
    f"{HEAD}def a(:\n    pass\n": "line 3: SyntaxError",
    f"{HEAD}\tx = (\n": "line 3: IndentationError",
    f"{HEAD}import no_such_library\n": "line 3: ModuleNotFoundError: No module named",
    f"{HEAD}from os import no_such_name\n": "line 3: ImportError",
    f"{HEAD}1 / 0\n": "line 3: ZeroDivisionError",
    f"{HEAD}raise SystemExit('later')\n": "line 3: SystemExit",
    f"{HEAD}import json\njson.loads('{{')\n": "line 4: JSONDecodeError",
    "import broken_helper\n": "broken_helper.py, line 2: ValueError: two",
}  # fmt: skip


def run(module: tuple[str, ...], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *module],
        env={
            **clean_environment(),
            "TASKYARD_HOME": str(cwd / "home"),
            "TASKYARD_TASK_TYPES": "my_tasks",
            "PORT": "0",
            "REDIS_URL": os.environ["TEST_REDIS_URL"],
            **environment,
        },
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def refused(ran: subprocess.CompletedProcess[str]) -> str:
    assert ran.returncode == 2, ran.stderr
    assert ran.stdout == ""
    assert ran.stderr.count("\n") == 1, ran.stderr
    return ran.stderr


@pytest.mark.parametrize("source", MISTAKES)
def test_each_mistake_has_its_line(source: str, tmp_path: Path) -> None:
    (tmp_path / "my_tasks.py").write_text(source)
    (tmp_path / "broken_helper.py").write_text("one = 1\nraise ValueError('two\\nthree')\n")
    line = refused(run(COMMANDS["manage"], tmp_path))
    assert MISTAKES[source] in line
    assert str(tmp_path) in line


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_says_it_in_one_line(command: str, tmp_path: Path) -> None:
    (tmp_path / "my_tasks.py").write_text("\n1 / 0\n")
    line = refused(run(COMMANDS[command], tmp_path))
    assert line == (
        f"taskyard: task types cannot be loaded: {tmp_path}/my_tasks.py, line 2: "
        "ZeroDivisionError: division by zero\n"
    )
    (tmp_path / "my_tasks.py").unlink()
    assert "there is no module my_tasks" in refused(run(COMMANDS[command], tmp_path))


def test_a_module_in_the_current_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "my_tasks.py").write_text("print('found')\n")
    assert "found" in run(COMMANDS["manage"], tmp_path).stdout


@pytest.mark.parametrize("command", ["up", "web", "worker"])
def test_names_that_other_projects_read_are_one_warning(command: str, tmp_path: Path) -> None:
    (tmp_path / "my_tasks.py").write_text("\n1 / 0\n")  # so that it ends at once
    given = {"SECRET_KEY": "x", "POSTGRES_PASSWORD": "hunter2", "CELERY_RESULT_BACKEND": "r"}
    said = run(COMMANDS[command], tmp_path, **given).stderr
    assert said.count("not read, though set") == 1
    assert "SECRET_KEY (DJANGO_SECRET_KEY)" in said
    assert "POSTGRES_PASSWORD (DATABASE_URL)" in said
    assert "CELERY_RESULT_BACKEND (results are in the database)" in said
    assert "hunter2" not in said


AUTHORS = '''
from taskyard import Fail, Retry, Run, task_type

@task_type("word-count", max_attempts=3, timeout=60)
def word_count(run: Run, text: str, min_length: int = 1) -> dict[str, int]:
    """Count the words of a text."""
    words = [word for word in text.split() if len(word) >= min_length]
    if not words:
        raise Fail("empty", "no words")
    if run.attempt > 2:
        raise Retry(after=3)
    run.progress(len(words), total=len(words), message="counted")
    return {"words": len(words)}

counted: dict[str, int] = word_count(None, "a b")
'''


def test_mypy_checks_an_authors_module(tmp_path: Path) -> None:
    def checked(source: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "my_tasks.py").write_text(source)
        command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "my_tasks.py"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    fine = checked(AUTHORS.replace("word_count(None,", "word_count(Run.__new__(Run),"))
    assert fine.returncode == 0, fine.stdout
    assert 'has incompatible type "None"' in checked(AUTHORS).stdout


def test_the_wheel_says_that_it_is_typed(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent.parent
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(root)]
    subprocess.run(command, check=True, timeout=120)
    (wheel,) = tmp_path.glob("taskyard-*.whl")
    assert "taskyard/py.typed" in zipfile.ZipFile(wheel).namelist()
