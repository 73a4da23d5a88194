"""One live system for the hostile table; each test is a row, its docstring the row's name."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.conftest import start_live
from tests.contract.client import User
from tests.hostile.attack import Attack
from tests.live_system import Live

LAST = ("test_schemathesis.py", "test_logs.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the fuzzing of the schema late, because it leaves tasks, and the test of the log last."""
    items.sort(key=lambda item: LAST.index(item.path.name) + 1 if item.path.name in LAST else 0)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A system that rotates tokens, has the default login throttle, and logs at DEBUG."""
    with ExitStack() as stack:
        environment = {
            "TASKYARD_TASK_TYPES": "tests.hostile.task_types",
            "TASKYARD_REGISTER_RATE": "100000/hour",
            "TASKYARD_ATTEMPT_RATE": "100000/min",
            "TASKYARD_ROTATE_REFRESH": "true",
            "TASKYARD_LOG_LEVEL": "DEBUG",
        }
        yield start_live(stack, tmp_path_factory.mktemp("hostile"), environment)


@pytest.fixture(scope="session")
def secret_texts() -> set[str]:
    """All texts that the log must not contain."""
    return {"password123"}


@pytest.fixture
def attack(hostile: Live, secret_texts: set[str], figure: Any) -> Iterator[Attack]:
    attack = Attack(hostile, secret_texts)
    yield attack
    attack.close()


@pytest.fixture(autouse=True)
def _close_connections() -> Iterator[None]:
    yield
    while User.opened:
        User.opened.pop().http.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any, call: pytest.CallInfo[None]) -> Any:
    report = yield
    attack = getattr(item, "funcargs", {}).get("attack")
    if report.when == "call" and isinstance(attack, Attack):
        row = (item.obj.__doc__ or item.name).strip().splitlines()[0].rstrip(".")
        holds = "holds" if report.passed else "DOES NOT HOLD"
        item.funcargs["figure"](row, f"{holds}: {attack.figure()}")
        if report.failed:
            report.sections.append(("the live system's log", attack.live.log_tail()))
    return report
