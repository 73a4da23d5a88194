"""A user of the live system, over HTTP alone."""

import secrets
import time
from typing import Any, ClassVar, Self

import httpx

from tests.api_client import LANGUAGE, ROOT, SCHEME
from tests.host.live import HostLive
from tests.live_system import Live

PASSWORD = "password123"
TERMINAL = {"completed", "error", "cancelled"}


class User:
    """`User.register(live)`: a new user with a token."""

    opened: ClassVar[list["User"]] = []

    def __init__(self, url: str, name: str, access: str, refresh: str) -> None:
        self.name = name
        self.refresh = refresh
        self.http = httpx.Client(
            base_url=f"{url}{ROOT}",
            headers={"Authorization": f"{SCHEME} {access}", **LANGUAGE},
            timeout=30,
        )
        self.opened.append(self)

    @classmethod
    def register(cls, live: Live, name: str | None = None) -> Self:
        if isinstance(live, HostLive):
            return cls(live.url, *live.new_person(), refresh="")
        name = name or f"user-{secrets.token_hex(6)}"
        credentials = {"username": name, "password": PASSWORD}
        registered = httpx.post(f"{live.url}/api/register/", json=credentials, timeout=30)
        assert registered.status_code == 201, registered.text
        answer = httpx.post(f"{live.url}/api/token/", json=credentials, timeout=30)
        assert answer.status_code == 200, answer.text
        return cls(live.url, name, answer.json()["access"], answer.json()["refresh"])

    def create(self, task_type: str, input_data: Any = None, **options: Any) -> httpx.Response:
        body = {"task_type": task_type, "input_data": input_data or {}, **options}
        return self.http.post("/tasks/create/", json=body)

    def submit(self, task_type: str, input_data: Any = None, **options: Any) -> int:
        answer = self.create(task_type, input_data, **options)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def sum(self, *numbers: float) -> int:
        return self.submit("sum", {"numbers": list(numbers)})

    def task(self, task_id: int) -> dict[str, Any]:
        answer = self.http.get(f"/tasks/{task_id}/")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def wait(self, task_id: int, *, seconds: float = 30, pause: float = 0.02) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while (task := self.task(task_id))["status"] not in TERMINAL:
            assert time.monotonic() < deadline, f"not finished after {seconds} s: {task}"
            time.sleep(pause)
        return task

    def wait_for_all(self, task_ids: list[int], *, seconds: float) -> dict[int, dict[str, Any]]:
        """Wait until none of the tasks is active; return all of them."""
        deadline = time.monotonic() + seconds
        while active := self.http.get("/limits/").json()["tasks"]:
            assert time.monotonic() < deadline, f"after {seconds} s {len(active)} are active"
            time.sleep(0.1)
        return {task_id: self.task(task_id) for task_id in task_ids}
