"""The task types of `examples/` in a live system, with files of their users, over the API alone."""

import csv
import io
import random
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.contract.client import User
from tests.live_system import Live

pytestmark = pytest.mark.servers
ROWS = 1_000_000


@pytest.fixture
def user(new_live: Callable[..., Live]) -> User:
    modules = ("thumbnail", "summarise", "report")
    return User.register(
        new_live(TASKYARD_TASK_TYPES=",".join(f"examples.{name}" for name in modules))
    )


def upload(user: User, name: str, data: bytes | Path) -> int:
    content = data if isinstance(data, bytes) else data.read_bytes()
    answer = user.http.post("/files/", params={"name": name}, content=content, timeout=120)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def outputs(user: User, task: dict[str, Any]) -> dict[str, bytes]:
    """The files that a task has saved."""
    saved = [file for file in task["files"] if file["role"] == "output"]
    return {
        file["name"]: user.http.get(f"/files/{file['id']}/content/").raise_for_status().content
        for file in saved
    }


def run(user: User, task_type: str, **input_data: Any) -> dict[str, Any]:
    return user.wait(user.submit(task_type, input_data), seconds=120)


def photo(width: int, height: int, kind: str, **options: Any) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (width, height), "orange").save(written, kind, **options)
    return written.getvalue()


def claiming(png: bytes, width: int, height: int) -> bytes:
    """The same PNG with another size in its header: few bytes, and gigabytes if unpacked."""
    header = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


def test_thumbnails(user: User) -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        name = f"фото на море.{kind.lower()}"
        task = run(user, "thumbnail", image=upload(user, name, photo(640, 400, kind)), width=160)
        assert task["status"] == "completed", task
        (made,) = outputs(user, task).items()
        assert made[0] == "фото на море-160.jpg"
        assert Image.open(io.BytesIO(made[1])).size == (160, 100)


def test_an_upright_photo_stays_upright(user: User) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was turned by 90 degrees
    image = upload(user, "turned.jpg", photo(640, 400, "JPEG", exif=turned))
    (made,) = outputs(user, run(user, "thumbnail", image=image, width=100)).values()
    assert Image.open(io.BytesIO(made)).size == (100, 160)


def test_images_that_make_no_thumbnail(user: User) -> None:
    whole = photo(64, 64, "PNG")
    for name, data, code in (
        ("cut.png", whole[: len(whole) // 2], "not_an_image"),
        ("large.png", claiming(whole, 9_000, 6_000), "image_too_large"),
        ("bomb.png", claiming(whole, 90_000, 60_000), "image_too_large"),
    ):
        task = run(user, "thumbnail", image=upload(user, name, data))
        assert (task["status"], task["error"]["code"]) == ("error", code), task
        assert task["attempt"] == 1
    refused = user.create("thumbnail", {"image": upload(user, "page.png", b"<html>hello</html>")})
    assert refused.status_code == 400, refused.text
    assert "image" in refused.json()["input_data"]


def test_a_summary_of_a_million_rows(user: User, tmp_path: Path, figure: Any) -> None:
    random.seed(17)
    path = tmp_path / "sales.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(("day", "city", "price"))
        rows.writerows((day, "Тверь", random.randrange(1000)) for day in range(ROWS))
    table = upload(user, "sales.csv", path)
    task_id = user.submit("summarise", {"table": table})
    seen = set()
    while (task := user.task(task_id))["status"] in ("pending", "in_progress"):
        seen.add((task["progress"] or {}).get("percent"))
        time.sleep(0.1)
    assert task["status"] == "completed", task
    assert len(seen - {None, 0.0, 100.0}) > 3, "no progress was seen on the way"
    result = task["result"]
    assert result["rows"] == ROWS
    assert set(result["columns"]) == {"day", "price"}
    assert result["columns"]["day"] == {
        "count": ROWS,
        "mean": (ROWS - 1) / 2,
        "min": 0,
        "max": ROWS - 1,
    }
    plot = Image.open(io.BytesIO(outputs(user, task)["plot.png"]))
    assert plot.format == "PNG"
    assert len(plot.convert("RGB").getcolors(2**24) or []) > 2  # something is drawn
    figure(f"a CSV of {ROWS:,} rows", f"{path.stat().st_size / 1e6:.0f} MB")


def test_odd_tables(user: User) -> None:
    for name, data, expected in (
        ("only a header.csv", b"a,b\r\n", {"rows": 0, "columns": {}}),
        ("words.csv", "\ufeffимя\nОля\n".encode(), {"rows": 1, "columns": {}}),
        (
            "short rows.csv",
            b"a,b\n1\n2,nan,3\n",
            {"rows": 2, "columns": {"a": {"count": 2, "mean": 1.5, "min": 1, "max": 2}}},
        ),
    ):
        task = run(user, "summarise", table=upload(user, name, data))
        assert (task["status"], task["result"]) == ("completed", expected), (name, task)
        assert set(outputs(user, task)) == ({"plot.png"} if expected["columns"] else set())
    koi8 = "имя,цена\nОля,7\n".encode("koi8-r")
    for data in (koi8, b"a,b\n" + b"1,2\n" * 10_000 + koi8):
        task = run(user, "summarise", table=upload(user, "old.csv", data))
        assert (task["status"], task["error"]["code"]) == ("error", "not_a_csv"), task
    refused = user.create("summarise", {"table": upload(user, "zeros.csv", bytes(100))})
    assert refused.status_code == 400, refused.text


def test_reports(user: User) -> None:
    sections = [{"heading": f"Part {n}", "text": "It rose. " * 500} for n in range(20)]
    task = run(user, "report", title="March", sections=sections)
    assert task["status"] == "completed", task
    (made,) = outputs(user, task).items()
    assert made[0] == "report.pdf"
    assert made[1].startswith(b"%PDF-")
    assert made[1].rstrip().endswith(b"%%EOF")
    assert made[1].count(b"/Type /Page\n") > 5
    streams = made[1].split(b"stream\n")[1::2]
    assert any(b"March" in _inflated(stream) for stream in streams)
    refused = user.create("report", {"title": "", "sections": []})
    assert refused.status_code == 400
    assert "title" in refused.json()["input_data"]


def _inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""
