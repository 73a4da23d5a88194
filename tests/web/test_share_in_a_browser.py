"""The element and the page of a link in Debian's Chromium, on the element's and on another site."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.contract.client import User
from tests.contract.test_share import link
from tests.live_system import Live
from tests.local_server import LocalServer
from tests.web.browser import Person, chromium

pytestmark = pytest.mark.servers
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A visitor, who has no account."""
    context = browser.new_context(locale="en")
    context.set_default_timeout(30_000)
    yield context
    assert context.cookies() == []
    context.close()


class Shop(BaseHTTPRequestHandler):
    """Another site, which has put the HTML of a link into its page."""

    html = ""

    def do_GET(self) -> None:
        body = f"<!DOCTYPE html><html lang=en><body>{self.html}</body></html>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Set-Cookie", "shop=1; Path=/")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def part(page: Page, name: str) -> Any:
    return page.locator(f"taskyard-progress [part={name}]")


def test_another_site_shows_the_task_live(live: Live, browser: Browser) -> None:
    user = User.register(live)
    task_id = user.submit("countdown", {"seconds": 60}, delay=60)
    Shop.html = link(user, task_id)["html"]
    context = browser.new_context(locale="en")
    page = context.new_page()
    requests: list[dict[str, str]] = []
    page.on(
        "request", lambda request: requests.append({"url": request.url, **request.all_headers()})
    )
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        with LocalServer(Shop) as shop:
            page.add_init_script(
                "window.seen = [];"
                "addEventListener('taskyard-task', ({detail}) => seen.push(detail.status));"
            )
            # Another host, so that it is another site and not only another port.
            page.goto(shop.url.replace("127.0.0.1", "localhost"))
            expect(part(page, "label")).to_have_text("Countdown")
            expect(part(page, "state")).to_have_text("Scheduled")
            user.http.post(f"/tasks/{task_id}/cancel/")
            expect(part(page, "state")).to_have_text("Cancelled")
            statuses = page.evaluate("seen")
    finally:
        context.close()
    assert statuses == ["pending", "cancelled"]
    assert errors == []
    ours = [request for request in requests if request["url"].startswith(live.url)]
    read = [request for request in ours if "/api/shared/" in request["url"]]
    assert read
    for request in read:
        assert "cookie" not in request
        assert "referer" not in request
        assert "tys1_" not in request["url"]
    assert {request["url"].partition("/api/shared/")[2] for request in read} == {"events/"}


def test_the_page_of_a_link_shows_the_task_and_its_end(live: Live, context: BrowserContext) -> None:
    user = User.register(live)
    task_id = user.submit("countdown", {"seconds": 60}, delay=60)
    page = context.new_page()
    page.goto(link(user, task_id, expires_in=3)["url"])
    expect(part(page, "state")).to_have_text("Scheduled")
    expect(page.locator("[data-incomplete]")).to_be_hidden()
    # The link expires under the reader's eyes.
    expect(part(page, "note")).to_have_text(
        "This link is not valid, or it has expired.", timeout=15_000
    )
    user.http.post(f"/tasks/{task_id}/cancel/")
    page.goto(link(user, task_id)["url"])
    expect(part(page, "state")).to_have_text("Cancelled")
    page.goto(f"{live.url}/shared/")
    expect(page.locator("[data-incomplete]")).to_be_visible()
    expect(page.locator("taskyard-progress")).to_be_hidden()


def test_what_looks_like_markup_stays_text(live: Live, context: BrowserContext) -> None:
    user = User.register(live)
    task_id = user.submit("fails", {"code": "broken", "message": EVIL})
    user.wait(task_id)
    page = context.new_page()
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    page.goto(link(user, task_id)["url"])
    expect(part(page, "result")).to_have_text(EVIL)
    assert dialogs == []


def test_a_visitor_downloads_what_the_task_has_saved(live: Live, context: BrowserContext) -> None:
    user = User.register(live)
    task_id = user.submit("returns-a-file", {"name": "a.txt"})
    user.wait(task_id)
    page = context.new_page()
    page.goto(link(user, task_id, files=True)["url"])
    with page.expect_download() as started:
        page.click("taskyard-progress [part=file]")
    assert started.value.suggested_filename == "a.txt"
    assert started.value.path().read_bytes() == b"data"


def test_an_owner_makes_a_link_and_copies_it(live: Live, browser: Browser) -> None:
    person = Person(
        browser, live.url, options={"permissions": ["clipboard-read", "clipboard-write"]}
    )
    try:
        person.register()
        person.submit("countdown", input_seconds="60")
        page = person.page
        page.click("#task-actions >> text=Share")
        page.click("main button.primary")
        url = page.input_value("#share-url")
        page.click("text=Copy the link")
        expect(page.locator("text=Copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == url
        page.goto(url)
        expect(part(page, "label")).to_have_text("Countdown")
        assert person.seen()["refused"] == []
        assert person.complaints == []
    finally:
        person.close()
