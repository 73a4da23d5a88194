"""The system checks: one for each mistake in the settings of a project."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.backends.postgresql.psycopg_any import IsolationLevel

from taskyard.catalog.files import InputFile
from taskyard.catalog.task_type import TaskType, registry
from taskyard.core import checks
from taskyard.core.conf import conf
from tests.configured import configure
from tests.servers import ROOT

pytestmark = pytest.mark.django_db
PAGE = ROOT / "docs/reference/checks.md"


def only(code: str) -> CheckMessage:
    """The only message, which has this code and a hint."""
    (message,) = checks.check_settings(None)
    assert message.id == f"taskyard.{code}"
    assert message.hint
    return message


class Elsewhere:
    """A router of a host that sends all models to another database."""

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "archive"


class NotMigrated:
    """A router of a host that leaves the tables of other apps out of the default database."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if app_label == "taskyard" else None


def test_the_projects_of_the_tests_have_no_mistake() -> None:
    assert checks.check_settings(None) == []


@pytest.mark.parametrize(
    ("key", "value", "code", "said"),
    [
        ("ACTIVE_LIMIT", 0, "E001", "greater than or equal to 1"),
        ("ACTIVE_LIMIT", "5", "E001", "valid integer"),
        ("SUBMIT_RATE", "many", "E001", "expected a rate like 30/hour"),
        ("QUEUES", ["Mail Box"], "E001", "'Mail Box' cannot be a queue"),
        ("BROKER_URL", "amqp://localhost", "E001", "redis://"),
        ("ACTIVE_LIMITS", 5, "E005", "is not a setting of Taskyard"),
    ],
)
def test_each_bad_key_is_named(
    settings: Any, key: str, value: object, code: str, said: str
) -> None:
    configure(settings, **{key: value})
    error = only(code)
    assert key in error.msg
    assert said in error.msg
    if code == "E005":
        assert error.hint == "Did you mean ACTIVE_LIMIT?"
    if key != "BROKER_URL":
        with pytest.raises(ImproperlyConfigured, match=key):
            conf()


def test_the_settings_are_a_dict(settings: Any) -> None:
    settings.TASKYARD = ["ACTIVE_LIMIT"]
    assert "TASKYARD" in only("E001").msg


def test_times_have_zones(settings: Any) -> None:
    settings.USE_TZ = False
    only("E006")


@pytest.mark.parametrize(("router", "named"), [(Elsewhere, "archive"), (NotMigrated, "another")])
def test_a_router_sends_no_table_elsewhere(settings: Any, router: type, named: str) -> None:
    settings.DATABASE_ROUTERS = [router()]
    assert named in only("E007").msg


def test_an_app_that_another_one_needs_is_named(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = apps.is_installed
    monkeypatch.setattr(apps, "is_installed", lambda app: app != "taskyard.core" and installed(app))
    assert "taskyard.api needs taskyard.core in INSTALLED_APPS." in {
        error.msg for error in checks.check_settings(None)
    }


ADMIN = ["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.admin"]


@pytest.mark.parametrize(
    ("installed", "said"),
    [
        ([*ADMIN, "taskyard.api"], "taskyard.api needs taskyard.core in INSTALLED_APPS."),
        ([*ADMIN, "taskyard.web"], "taskyard.web needs taskyard.core in INSTALLED_APPS."),
        ([*ADMIN, "taskyard"], "Write taskyard.core instead, and taskyard.api or taskyard.web"),
        (["taskyard", "taskyard.core"], "taskyard is not an app."),
    ],
)
def test_apps_that_do_not_fit_are_named_at_the_start(installed: list[str], said: str) -> None:
    code = (
        "import django; from django.conf import settings\n"
        f"settings.configure(INSTALLED_APPS={installed})\n"
        "django.setup()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert said in ran.stderr.splitlines()[-1]


def test_a_module_that_is_not_there_is_named_with_its_setting() -> None:
    code = (
        "import django; from django.conf import settings\n"
        "apps = ['django.contrib.contenttypes', 'django.contrib.auth', 'taskyard.core']\n"
        "settings.configure(INSTALLED_APPS=apps, TASKYARD={'TASK_TYPES': ['nowhere']})\n"
        "django.setup()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "TASKYARD['TASK_TYPES']: there is no module nowhere;" in ran.stderr.splitlines()[-1]


def test_a_key_outside_of_the_dict_is_named(settings: Any) -> None:
    settings.TASKYARD_BROKER_URL = "redis://127.0.0.1:6379/0"
    assert "TASKYARD_BROKER_URL" in only("W002").msg


def test_task_types_outside_of_an_app_are_named(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "shop_without_app"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "task_types.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    settings.ROOT_URLCONF = "shop_without_app.urls"
    assert "shop_without_app.task_types" in only("W003").msg


def test_our_users_are_the_projects_users_or_not_installed(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.AUTH_USER_MODEL = "people.Person"
    installed = apps.is_installed
    monkeypatch.setattr(
        apps, "is_installed", lambda app: app.startswith("taskyard.accounts") or installed(app)
    )
    codes = {message.id for message in checks.check_settings(None)}
    assert "taskyard.E009" in codes


def test_task_types_that_take_files_need_the_app_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def describe(picture: InputFile) -> int:
        return picture.size

    monkeypatch.setitem(registry._types, "describe", TaskType("describe", describe, "", ""))
    installed = apps.is_installed
    monkeypatch.setattr(
        apps, "is_installed", lambda app: app != "taskyard.files" and installed(app)
    )
    assert "describe" in only("E011").msg


def test_another_database_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection._connections[connection._alias], "vendor", "mysql")
    only("E002")


@pytest.mark.skipif(connection.vendor != "sqlite", reason="options of SQLite")
@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"transaction_mode": "DEFERRED"}, "E004"),
        ({"init_command": "PRAGMA journal_mode=DELETE"}, "W001"),
        ({"init_command": "PRAGMA synchronous = NORMAL;"}, "W001"),
    ],
)
def test_sqlite_loses_no_task(
    options: dict[str, str], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    only(code)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="options of PostgreSQL")
def test_submits_at_once_do_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    options = {
        **connection.settings_dict["OPTIONS"],
        "isolation_level": IsolationLevel.SERIALIZABLE,
    }
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    only("E010")


def test_the_reference_lists_each_code() -> None:
    sources = [path.read_text() for path in (ROOT / "src").rglob("checks.py")]
    codes = set(re.findall(r"taskyard\.[EW][0-9]{3}", "".join(sources)))
    assert codes == set(re.findall(r"taskyard\.[EW][0-9]{3}", PAGE.read_text()))
