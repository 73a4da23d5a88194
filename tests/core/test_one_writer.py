"""One writer: nothing but the lifecycle and its statements changes a task's state."""

import ast
from collections.abc import Iterator
from pathlib import Path

import taskyard

SOURCE = Path(taskyard.__file__).parent
GUARDED = {"status", "attempt", "fence", "ready", "wake_at", "worker", "worker_id", "finished_at"}
WRITERS = {"update", "create", "bulk_create", "bulk_update", "update_or_create", "get_or_create"}


def writes(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        where = f"{path.relative_to(SOURCE)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in WRITERS and GUARDED & {word.arg for word in node.keywords}:
                yield where
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = node.value.upper()
            if "UPDATE TASKYARD_TASK" in words or "INTO TASKYARD_TASK" in words:
                yield where
        elif isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {t.attr for t in targets if isinstance(t, ast.Attribute)}
            if {"status", "fence", "wake_at"} & names:
                yield where


def test_only_the_lifecycle_writes_the_state_of_tasks() -> None:
    found = {
        where.split(":")[0]
        for path in SOURCE.rglob("*.py")
        # Rows of files have an attempt and a fence of their own.
        if not {"migrations", "catalog", "client", "files"} & set(path.parts)
        for where in writes(path)
    }
    assert found == {
        "core/lifecycle.py",
        "core/transitions.py",
        "core/engine/postgresql.py",
        "core/engine/sqlite.py",
    }
