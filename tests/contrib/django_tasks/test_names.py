"""How workers find a task by its name, and who else may see or submit it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import django
import pytest
from django.test import override_settings

from taskyard.catalog.task_type import UnknownTaskType, registry
from taskyard.contrib.django_tasks import declarations
from taskyard.core import bulk, intake, lifecycle
from taskyard.core.models import Task as Row
from taskyard.core.types import NewTask
from tests.contrib.django_tasks.conftest import Work
from tests.contrib.django_tasks.names import (
    InvalidTask,
    TaskResultStatus,
    default_task_backend,
    task,
    task_backends,
)
from tests.contrib.django_tasks.shop import tasks
from tests.contrib.django_tasks.tasks_setting import TASKS
from tests.live_system import clean_environment

SHOP = "tests.contrib.django_tasks.shop"
ELSEWHERE = f"{SHOP}.elsewhere"
ROOT = Path(__file__).parents[3]


def submit(name: str, *args: Any) -> str:
    """As another process does that has imported the module."""
    new = NewTask(name, "default", {"args": list(args), "kwargs": {}}, max_attempts=1)
    return str(lifecycle.submit(None, new).pk)


def forget(module: str) -> None:
    """Make this process one that has not imported the module."""
    sys.modules.pop(module, None)
    for name in [each for each in declarations._declared if each.startswith(f"{module}.")]:
        del declarations._declared[name], registry._types[name]
    declarations._not_found_at.clear()


def test_a_worker_imports_the_module_of_a_task_that_it_meets(work: Work) -> None:
    forget(ELSEWHERE)
    ids = [submit(f"{ELSEWHERE}.count", "word"), submit(f"{ELSEWHERE}._private")]
    work()
    results = [default_task_backend.get_result(each) for each in ids]
    assert [result.return_value for result in results] == [4, "found by its declaration"]


def test_a_web_process_reads_a_task_whose_module_it_has_not_imported(work: Work) -> None:
    forget(ELSEWHERE)
    result = default_task_backend.get_result(submit(f"{ELSEWHERE}.count", "word"))
    assert (result.status, result.args) == (TaskResultStatus.READY, ["word"])


@pytest.mark.parametrize(
    "name",
    ["gone.module.f", f"{SHOP}.tasks.gone", f"{SHOP}.tasks.PaymentRefused", "os.system", "os.path"],
)
def test_a_task_that_is_gone_waits_and_says_so(
    work: Work, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    gone = submit(name)
    after = tasks.noop.enqueue()
    work()
    work()
    assert Row.objects.get(id=gone).status == "pending"
    assert tasks.noop.get_result(after.id).status == TaskResultStatus.SUCCESSFUL
    (said,) = [each for each in caplog.records if getattr(each, "task_type", None) == name]
    assert said.getMessage().startswith("task type not found: ")
    with pytest.raises(ImportError, match=f"{name} .* the option ALIASES"):
        default_task_backend.get_result(gone)
    forget("nothing")


@pytest.mark.parametrize("name", [f"{SHOP}.tasks.former", "shop_of_old.tasks.renamed"])
def test_a_task_under_a_former_name(work: Work, name: str) -> None:
    waits = submit(name)
    assert tasks.renamed.get_result(waits).task == tasks.renamed
    work()
    assert tasks.renamed.get_result(waits).return_value == "by its new name"


def test_a_former_name_of_a_module_that_is_not_imported(work: Work) -> None:
    forget(ELSEWHERE)
    forget("shop_of_old.elsewhere")
    waits = submit("shop_of_old.elsewhere.count", "word")
    work()
    assert default_task_backend.get_result(waits).return_value == 4


def test_a_name_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.noop.func, "__qualname__", "n" * 200)
    with pytest.raises(InvalidTask, match="too long"):
        task()(tasks.noop.func)


def test_a_long_name_is_kept(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.process.func, "__qualname__", "n" * (199 - len(f"{SHOP}.tasks")))
    long = task()(tasks.process.func)
    result = long.enqueue()
    work()
    assert len(long.module_path) == 200
    assert long.get_result(result.id).status == TaskResultStatus.SUCCESSFUL
    del declarations._declared[long.module_path], registry._types[long.module_path]


def test_the_type_of_a_task(work: Work) -> None:
    task_type = registry.get(f"{SHOP}.tasks.noop")
    assert (task_type.label, task_type.description) == ("Noop", "Do nothing.")
    assert task_type.internal
    assert set(task_type.input_schema["properties"]) == {"args", "kwargs"}
    assert {"default", "mail"} <= set(registry.queues())


# API and page


def test_users_cannot_submit_a_task(work: Work) -> None:
    name = f"{SHOP}.tasks.noop"
    with pytest.raises(intake.InvalidInput, match="no such task type"):
        intake.parse_task({"task_type": name, "input_data": {"args": [], "kwargs": {}}})
    with pytest.raises(UnknownTaskType):
        registry.get_public(name)
    assert name not in [each.name for each in registry.public()]


def test_the_registry_never_imports_for_a_request() -> None:
    forget(ELSEWHERE)
    with pytest.raises(UnknownTaskType):
        registry.get(f"{ELSEWHERE}.count")
    assert ELSEWHERE not in sys.modules


def test_staff_retries_a_task(work: Work) -> None:
    result = tasks.fails.enqueue()
    work()
    assert bulk.retryable(Row.objects.all()).count() == 1
    again = lifecycle.retry(Row.objects.get(id=result.id))
    work()
    assert tasks.fails.get_result(str(again.pk)).status == TaskResultStatus.FAILED


# Checks


def found(**setting: Any) -> list[str | None]:
    with override_settings(TASKS={"default": {**TASKS["default"], **setting}}):
        return [each.id for each in task_backends["default"].check()]


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ({"OPTIONS": {"MAX_ATTEMPT": 3}}, "taskyard.E102"),
        ({"OPTIONS": {"MAX_ATTEMPTS": 0}}, "taskyard.E103"),
        ({"OPTIONS": {"ALIASES": {"shop.tasks": "no.such.module"}}}, "taskyard.E104"),
        ({"QUEUES": ["default", "E-Mail"]}, "taskyard.E105"),
        ({"QUEUES": []}, "taskyard.W103"),
    ],
)
def test_a_mistake_in_the_settings_has_a_code(setting: Any, code: str) -> None:
    assert code in found(**setting)


def test_a_queue_that_the_workers_serve_needs_no_name(settings: Any) -> None:
    from tests.configured import configure

    configure(settings, QUEUES=["default"])
    assert "taskyard.W103" not in found(QUEUES=[])


def test_the_tables_are_needed(settings: Any) -> None:
    with override_settings(INSTALLED_APPS=["django.contrib.contenttypes"]):
        assert found() == ["taskyard.E101"]


def manage(tmp_path: Path, *arguments: str, apps: str = "") -> subprocess.CompletedProcess[str]:
    """Run a management command of a project with the shop, in its own process."""
    settings = tmp_path / "shop_settings.py"
    settings.write_text(
        f"from tests.contrib.django_tasks.settings import *\nINSTALLED_APPS += [{apps}]\n"
    )
    return subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        env={
            **clean_environment(),
            "DJANGO_SETTINGS_MODULE": "shop_settings",
            "TASKYARD_HOME": str(tmp_path),
            "PYTHONPATH": ":".join([str(tmp_path), *sys.path]),
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_check_names_the_tasks_that_no_worker_imports(tmp_path: Path) -> None:
    """The URLs of the project import one more module; the tasks of an app cannot be imported."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "__init__.py").touch()
    (broken / "tasks.py").write_text("import no_such_library\n")
    deep = tmp_path / "deep" / "tasks"
    deep.mkdir(parents=True)
    for package in (deep.parent, deep):
        (package / "__init__.py").touch()
    names = "from tests.contrib.django_tasks.names import task\n"
    (deep / "mail.py").write_text(f"{names}@task\ndef send(): ...\n")
    (tmp_path / "shop_urls.py").write_text(f"import {ELSEWHERE}\nurlpatterns = []\n")
    apps = "'broken', 'deep']\nROOT_URLCONF = 'shop_urls'\n_ = ["
    checked = manage(tmp_path, "check", apps=apps)
    assert checked.returncode == 0, checked.stderr
    assert f"(taskyard.W101) Workers do not import {ELSEWHERE}.count at" in checked.stderr
    assert "(taskyard.W102) broken.tasks cannot be imported: ModuleNotFoundError" in checked.stderr
    assert f"{SHOP}.tasks.noop" not in checked.stderr
    known = "from taskyard.catalog.task_type import registry; print('deep.tasks.mail.send' in "
    shown = manage(tmp_path, "shell", "-c", f"{known}[t.name for t in registry.all()])", apps=apps)
    assert shown.stdout.strip().endswith("True"), shown.stderr


def test_a_project_without_django_tasks_imports_nothing_of_them(tmp_path: Path) -> None:
    """Neither the backend nor the framework."""
    script = (
        "import django, json, sys; django.setup(); print(json.dumps("
        "[name for name in sys.modules if 'django_tasks' in name or name == 'django.tasks']))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env={
            **clean_environment(),
            "DJANGO_SETTINGS_MODULE": "taskyard.server.settings",
            "TASKYARD_HOME": str(tmp_path),
            "PYTHONPATH": ":".join(sys.path),
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = json.loads(ran.stdout)
    assert [each for each in imported if "taskyard" in each or django.VERSION < (6, 0)] == []


def test_a_module_of_models_may_have_tasks(tmp_path: Path) -> None:
    """Then the backend is imported before Django has loaded its apps."""
    early = tmp_path / "early"
    early.mkdir()
    (early / "__init__.py").touch()
    (early / "models.py").write_text(
        "from tests.contrib.django_tasks.names import task\n@task\ndef send(): ...\n"
    )
    checked = manage(tmp_path, "check", apps="'early'")
    assert checked.returncode == 0, checked.stderr
    assert "W101" not in checked.stderr
