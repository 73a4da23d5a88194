"""The host project in place of our own, for tests that use a live system."""

import json
from pathlib import Path

import httpx

from tests.api_client import ROOT
from tests.host.system import ASGI, MAKE_PEOPLE
from tests.live_system import Live, run_python

PEOPLE_AT_ONCE = 20


class HostLive(Live):
    """`with HostLive(directory, {...}) as live`: it runs as a Django project does."""

    database_file = "host.sqlite3"

    def __init__(
        self, directory: Path, environment: dict[str, str], *, migrated: bool = False
    ) -> None:
        super().__init__(directory, environment, migrated=migrated)
        self.home.mkdir(exist_ok=True)
        self.env["DJANGO_SETTINGS_MODULE"] = "tests.host_project.live_settings"
        self._people: list[tuple[str, str]] = []
        self._made = 0

    def program(self, *arguments: str) -> list[str]:
        match arguments:
            case ("web",):
                return ["-m", *ASGI, str(self.port)]
            case ("worker",):
                concurrency = self.env["TASKYARD_CONCURRENCY"]
                return ["-m", "django", "taskyard_worker", "--concurrency", concurrency]
            case ("manage", *command):
                return ["-m", "django", *command]
        return ["-m", "django", *arguments]

    def new_person(self) -> tuple[str, str]:
        """The e-mail address of a new user, and a token."""
        if not self._people:
            emails = [f"{self._made + number}@example.org" for number in range(PEOPLE_AT_ONCE)]
            without_password = ""  # hashing takes half a second
            made = run_python(self.env, "-c", MAKE_PEOPLE, without_password, *emails)
            assert made.returncode == 0, made.stdout + made.stderr
            self._people = list(zip(emails, json.loads(made.stdout), strict=True))
            self._made += PEOPLE_AT_ONCE
        return self._people.pop()

    def _answers_ready(self) -> bool:
        try:
            # A project has no /readyz; without a token this is 401.
            answers = httpx.get(f"{self.url}{ROOT}limits/", timeout=5).status_code < 500
        except httpx.TransportError:
            return False
        return answers and (not self.workers or "ready." in self.log.read_text())
