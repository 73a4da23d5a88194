"""Generate clients from docs/openapi.json, compile them, and run them against a system."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.npm import CACHE, installed, run_node

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
# Set by `make clients`, to include the generators that need Java and take long.
ALL = os.environ.get("CLIENTS") == "all"
DOCUMENT = HERE.parent.parent / "docs" / "openapi.json"
TSC = {
    "target": "ES2022", "module": "NodeNext", "strict": True,
    "outDir": "out", "types": [], "lib": ["ES2022", "DOM", "DOM.Iterable"],
}  # fmt: skip


def openapi_typescript(folder: Path, environment: dict[str, str]) -> str:
    _project(folder)
    made = folder / "made"
    made.mkdir()
    cli = installed(HERE) / "openapi-typescript/bin/cli.js"
    arguments = [str(cli), str(DOCUMENT), "--output", str(made / "schema.d.ts")]
    run_node(arguments, dict(environment), cwd=folder)
    return _typescript(folder, environment, "openapi_typescript.ts")


def hey_api(folder: Path, environment: dict[str, str]) -> str:
    _project(folder)
    cli = installed(HERE) / "@hey-api/openapi-ts/bin/run.js"
    output = {"path": "made", "importFileExtension": ".js"}
    config = json.dumps({"input": str(DOCUMENT), "output": output})
    (folder / "openapi-ts.config.mjs").write_text(f"export default {config};")
    run_node([str(cli), "--no-log-file"], dict(environment), cwd=folder)
    return _typescript(folder, environment, "hey_api.ts")


def typescript_fetch(folder: Path, environment: dict[str, str]) -> str:
    _project(folder)
    _openapi_generator(folder, "typescript-fetch", "importFileExtension=.js")
    return _typescript(folder, environment, "typescript_fetch.ts")


def openapi_python_client(folder: Path, environment: dict[str, str]) -> str:
    options = ["--path", str(DOCUMENT), "--output-path", str(folder / "made")]
    generate = ["-m", "openapi_python_client", "generate", *options, "--meta", "poetry"]
    _run([str(_tool("openapi-python-client") / "bin/python"), *generate], folder)
    return _python(folder, environment, "openapi_python_client.py")


def openapi_generator(folder: Path, environment: dict[str, str]) -> str:
    _openapi_generator(folder, "python")
    return _python(folder, environment, "openapi_generator.py")


QUICK: tuple[Callable[[Path, dict[str, str]], str], ...] = (
    openapi_typescript,
    openapi_python_client,
)
EVERY = (*QUICK, hey_api, openapi_generator, typescript_fetch)


def play(
    client: Callable[[Path, dict[str, str]], str], folder: Path, url: str, access: str
) -> dict[str, Any]:
    """Generate and compile a client; its program submits, reads and lists. Return its output."""
    given = {**os.environ, "TASKYARD_URL": url, "TASKYARD_ACCESS": access, "NO_COLOR": "1"}
    printed = client(folder, given)
    found: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
    return found


def _typescript(folder: Path, environment: dict[str, str], program: str) -> str:
    modules = installed(HERE)
    shutil.copy(PROGRAMS / program, folder / "program.ts")
    run_node([str(modules / "typescript/bin/tsc")], dict(environment), cwd=folder)
    return run_node(["out/program.js"], dict(environment), cwd=folder)


def _project(folder: Path) -> None:
    """The settings of tsc and hey-api; hey-api names files as the module system needs them."""
    (folder / "node_modules").symlink_to(installed(HERE))
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "tsconfig.json").write_text(
        json.dumps({"compilerOptions": TSC, "files": ["program.ts"]})
    )


def _python(folder: Path, environment: dict[str, str], program: str) -> str:
    path = str(folder / "made")
    mypy = ["-m", "mypy", "--no-incremental", "--follow-imports=silent", str(PROGRAMS / program)]
    _run([sys.executable, *mypy], folder, {**environment, "MYPYPATH": path})
    return _run(
        [sys.executable, str(PROGRAMS / program)], folder, environment | {"PYTHONPATH": path}
    )


def _openapi_generator(folder: Path, language: str, *properties: str) -> None:
    (jar,) = _tool("openapi-generator").glob("lib/python*/site-packages/*/openapi-generator.jar")
    options = [part for each in properties for part in ("--additional-properties", each)]
    where = ["-i", str(DOCUMENT), "-g", language, "-o", str(folder / "made")]
    _run(["java", "-jar", str(jar), "generate", *where, *options], folder)


def _tool(name: str) -> Path:
    """The virtual environment of a generator, because its requirements conflict with ours."""
    lock = HERE / f"{name}.txt"
    home = CACHE / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if not home.exists():
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE, prefix="installing-") as directory:
            fresh = Path(directory) / name
            _run([sys.executable, "-m", "venv", str(fresh)], HERE)
            install = ["-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock)]
            _run([str(fresh / "bin/python"), *install], HERE)
            try:
                fresh.rename(home)
            except OSError:
                if not home.exists():  # otherwise another run was first
                    raise
    return home


def _run(arguments: list[str], folder: Path, environment: dict[str, str] | None = None) -> str:
    result = subprocess.run(
        arguments,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout
