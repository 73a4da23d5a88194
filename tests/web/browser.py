"""A real browser with a live Taskyard; it records errors, refused requests and long tasks."""

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

PASSWORD = "password123"
# Collects measurements of a page for the test.
WATCH = """
window.seen = {long: [], shift: 0, refused: []};
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) seen.long.push(Math.round(entry.duration));
}).observe({type: "longtask", buffered: true});
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) seen.shift += entry.value;
}).observe({type: "layout-shift", buffered: true});
document.addEventListener("securitypolicyviolation", (event) => {
  seen.refused.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program, "make test installs chromium; alone: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Person:
    """A user with a browser of their own."""

    browser: Browser
    url: str
    name: str = field(default_factory=lambda: f"person-{secrets.token_hex(4)}")
    options: dict[str, Any] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.options = {
            "locale": "en",
            "viewport": {"width": 1200, "height": 800},
            "timezone_id": "UTC",
            **self.options,
        }
        self.context: BrowserContext = self.browser.new_context(base_url=self.url, **self.options)
        self.context.add_init_script(WATCH)
        self.context.set_default_timeout(30_000)
        self.page = self.open()

    def open(self) -> Page:
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._hear)
        return page

    def _hear(self, message: Any) -> None:
        # The page shows a failed request itself; every other message is a fault of the page.
        failed = "Failed to load resource", "Failed to fetch", "network error"
        if message.type == "error" and not any(text in message.text for text in failed):
            self.complaints.append(message.text)

    def register(self) -> None:
        self._enter("/register/")

    def sign_in(self) -> None:
        self._enter("/sign-in/")

    def _enter(self, address: str) -> None:
        self.page.goto(address)
        self.page.fill("#username", self.name)
        self.page.fill("#password", PASSWORD)
        self.page.click("main button.primary")
        self.page.wait_for_url("**/tasks/")

    def submit(self, task_type: str, **typed: str) -> int:
        """Submit through the form; the task's id. A list is typed as text, one value a line."""
        self.page.goto(f"/tasks/new/{task_type}/")
        for name, text in typed.items():
            field = f"#{name.replace('_', '-')}"
            if "\n" in text:
                self.page.click(f".values:has({field}) >> text=Write as text")
                self.page.wait_for_selector(f"textarea{field}")
            self.page.fill(field, text)
        self.page.click("main button.primary")
        self.page.wait_for_url(lambda url: url.rstrip("/").rpartition("/")[2].isdecimal())
        return int(self.page.url.rstrip("/").rpartition("/")[2])

    def seen(self) -> dict[str, Any]:
        found: dict[str, Any] = self.page.evaluate("window.seen")
        return found

    def close(self) -> None:
        self.context.close()


class Owner:
    """The same user with a token, for actions that take long in a browser."""

    def __init__(self, url: str, name: str) -> None:
        self._http = httpx.Client(base_url=f"{url}/api", timeout=60)
        answer = self._http.post("/token/", json={"username": name, "password": PASSWORD})
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access']}"

    def bulk(self, task_type: str, input_data: dict[str, Any], *, many: int) -> None:
        body = {"tasks": [{"task_type": task_type, "input_data": input_data}] * many}
        answer = self._http.post("/tasks/bulk/", json=body)
        assert answer.status_code == 201, answer.text

    def wait_until_idle(self, *, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while self._http.get("/limits/").json()["active"]:
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def close(self) -> None:
        self._http.close()
