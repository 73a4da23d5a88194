"""The lines of the documentation add the page to a fresh project."""

import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.host.system import WSGI, Host
from tests.servers import ROOT

pytestmark = pytest.mark.servers
HOW_TO = ROOT / "docs/how-to/the-page-in-your-project.md"
BLOCK = re.compile(r"```diff\n\+\+\+ (\S+)\n(.*?)```", flags=re.DOTALL)
BROKER = "redis://127.0.0.1:6379/3"
PASSWORD = "password123"
SERVERS = [(WSGI, 406), (("uvicorn", "shop.asgi:application", "--port"), 200)]
ADMIN = ("--noinput", "--username", "ann", "--email", "ann@example.org")


def post(client: httpx.Client, path: str, **form: str) -> httpx.Response:
    client.get(path)
    form["csrfmiddlewaretoken"] = client.cookies["csrftoken"]
    return client.post(path, data=form, follow_redirects=True)


def test_the_lines_of_the_page_add_it_to_a_fresh_project(tmp_path: Path) -> None:
    start = [sys.executable, "-m", "django", "startproject", "shop", str(tmp_path)]
    subprocess.run(start, check=True)
    host = Host(tmp_path, "shop.settings", {"DJANGO_SUPERUSER_PASSWORD": PASSWORD})
    for name, block in BLOCK.findall(HOW_TO.read_text()):
        lines = block.replace("\n+", "\n").removeprefix("+")
        with (tmp_path / name).open("a") as file:
            file.write(lines.replace(BROKER, host.env["REDIS_URL"]))
    with host:
        assert "no issues" in host.run("manage.py", "check")
        host.run("manage.py", "createsuperuser", *ADMIN)
        host.start_worker()
        for server, status in SERVERS:
            with httpx.Client(base_url=host.start_web(*server), timeout=30) as client:
                guarded = client.get("/jobs/", follow_redirects=True)
                assert guarded.url.path == "/admin/login/"
                login = f"/admin/login/?next={guarded.url.params['next']}"
                page = post(client, login, username="ann", password=PASSWORD)
                assert "My tasks" in page.text
                submitted = post(
                    client,
                    "/jobs/tasks/new/sum/",
                    do="submit",
                    priority="normal",
                    **{"/numbers": "1\n2"},
                )
                deadline = time.monotonic() + 20
                while "task-over" not in client.get(submitted.url.join("part/")).text:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
                assert "result: 3" in client.get("/jobs/tasks/").text
                with client.stream("GET", "/jobs/events/") as stream:
                    assert stream.status_code == status
                assert client.get("/jobs/staff/").status_code == 200
