"""A client of the API for tests."""

import json
import os
from typing import Any

from django.test import Client

# Where the API is in the project of the run (tests/conftest.py), and how tokens are named there.
IN_HOST = os.environ.get("TEST_PROJECT") == "host"
ROOT, SCHEME = ("/internal/jobs/", "Token") if IN_HOST else ("/api/", "Bearer")
# In the host project the words of Django REST Framework come first.
NOT_FOUND = "Страница не найдена." if IN_HOST else "Не найдено."
# The default of our own project, which the tests expect.
LANGUAGE = {"Accept-Language": "ru"} if IN_HOST else {}
SITE = f"http://testserver{ROOT}"


class ApiClient:
    """``api.get("tasks/")``; a body that is not bytes is sent as JSON."""

    def __init__(self, client: Client, access: str | None = None) -> None:
        self.client = client
        self.access = access

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = "application/json",
        **headers: str,
    ) -> Any:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.access:
            headers.setdefault("Authorization", f"{SCHEME} {self.access}")
        headers = {**LANGUAGE, **headers}
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body)
        return self.client.generic(
            method,
            f"{ROOT}{path}",
            data,
            content_type=content_type,
            headers=headers,
        )

    def get(self, path: str, **headers: str) -> Any:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.ask("POST", path, body, **headers)

    def patch(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.ask("PATCH", path, body, **headers)

    def create(self, task_type: str = "sum", **options: Any) -> Any:
        options.setdefault("input_data", {"numbers": [1, 2, 3]})
        return self.post("tasks/create/", {"task_type": task_type, **options})
