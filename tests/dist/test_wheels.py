"""`make dist-check` finds a dependency that a platform cannot install."""

from pathlib import Path

import pytest

from tools import check_wheels

PINNED = check_wheels.REQUIREMENTS.read_text().replace("\\\n", " ").splitlines()


def line(name: str) -> str:
    (found,) = (line for line in PINNED if line.startswith(f"{name}=="))
    return found


def test_it_names_what_has_no_wheel_with_a_pinned_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check_wheels, "PLATFORMS", check_wheels.PLATFORMS[-1:])
    monkeypatch.setattr(check_wheels, "PYTHONS", ("3.12",))
    file = tmp_path / "base.txt"
    wrong_hash = f"vine==5.1.0 --hash=sha256:{64 * '0'}"
    absent = f"absent==1 ; sys_platform == 'win32' --hash=sha256:{64 * '0'}"

    file.write_text("\n".join((line("amqp"), line("uvloop"), absent)))
    assert check_wheels.main(file) == 0
    assert "macOS 13 arm64   3.12          2  -\n" in capsys.readouterr().out

    file.write_text("\n".join((wrong_hash, line("uvloop"))))
    assert check_wheels.main(file) == 1
    assert "macOS 13 arm64   3.12          2  vine\n" in capsys.readouterr().out

    windows = check_wheels.Platform("Windows", "win32", "AMD64", ("win_amd64",))
    monkeypatch.setattr(check_wheels, "PLATFORMS", (windows,))
    file.write_text(line("uvloop").replace("; sys_platform != 'win32'", ""))
    assert check_wheels.main(file) == 1
    assert "Windows          3.12          1  uvloop\n" in capsys.readouterr().out
