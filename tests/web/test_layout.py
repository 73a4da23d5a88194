"""All pages at the widths of telephones and desks: nothing overlaps or is cut, axe is content.

The pages are those of the owner and of staff, each with much to show, in both themes.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from tests import npm
from tests.live_system import Live
from tests.web.browser import Person, chromium

pytestmark = pytest.mark.servers
WIDTHS = (320, 390, 1440)
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
DARK_RULES = ["color-contrast", "link-in-text-block"]
# Of a list of fifty tasks on a telephone: a row is two or three lines.
HIGHEST_ROW = 92
OVERLAPS = (Path(__file__).parent / "overlaps.js").read_text()
SIGNED_OUT = (
    "/sign-in/",
    "/register/",
    "/password/reset/",
    "/password/reset/confirm/",
    "/email/confirm/",
    "/nope/",
)
OWNERS = (
    "/tasks/",
    "/tasks/?status=error&type=sum&tag=tea",
    "/tasks/?tag=nothing-has-it",
    "/tasks/new/",
    "/tasks/new/sum/",
    "/tasks/new/says-much/",
    "/tasks/new/asks-our-words/",
    "/tasks/new/asks-rows-datetime/",
    "/tasks/new/asks-object-date/",
    "/tasks/new/asks-optional-list-choice/",
    "/tasks/new/takes-files/",
    "/files/",
    "/password/",
    "/keys/",
    "/email/",
    "/nope/",
)
STAFF = (
    "/staff/",
    "/staff/tasks/",
    "/staff/tasks/?id=x",
    "/staff/tasks/cancel/",
    "/staff/tasks/retry/?status=error",
    "/staff/queues/",
    "/staff/errors/",
    "/staff/users/",
    "/staff/invitations/",
    "/staff/audit/",
    "/staff/files/",
    "/staff/files/?owner={name}",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def boss(live: Live, browser: Browser) -> Iterator[Person]:
    """Staff, and an owner with thousands of tasks of each kind."""
    person = Person(browser, live.url)
    person.register()
    script = (
        "from taskyard.accounts.models import User; "
        f"User.objects.filter(username={person.name!r}).update(is_staff=True); "
        f"from tests.web.staff.day import fill; fill({person.name!r})"
    )
    live.command("manage", "shell", "-c", script)
    yield person
    person.close()


@pytest.fixture(scope="module")
def tasks(boss: Person) -> list[str]:
    """The pages of a task of each kind."""
    long = "x" * 300
    ids = [
        submit_with_files(boss),
        boss.submit("sum", input_numbers="\n".join(["9007199254740991"] * 40), tags="tea"),
        boss.submit("fails", input_code="bad", input_message=f"{long} no", tags=f"{long[:50]}, b"),
        boss.submit("says-much", input_times="300"),
        boss.submit("countdown", input_seconds="600"),
    ]
    boss.page.wait_for_timeout(2000)
    return [f"{where}/tasks/{task_id}/" for task_id in ids for where in ("", "/staff")]


def submit_with_files(person: Person) -> int:
    """Submit a task with files of long names; the task's id."""
    page = person.page
    page.goto("/tasks/new/takes-files/")
    for field, name, data in (
        ("picture", f"{'long ' * 30}.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 20),
        ("tables", f"{'x' * 150}.txt", b"text\n" * 100),
    ):
        page.set_input_files(f"#input-{field}", {"name": name, "mimeType": "", "buffer": data})
    page.click("main button.primary")
    page.wait_for_url(re.compile(r"/tasks/\d+/$"))
    return int(page.url.rstrip("/").rpartition("/")[2])


@pytest.mark.parametrize("part", ["signed out", "owner", "staff", "tasks"])
def test_every_page_fits_and_axe_finds_nothing(
    live: Live, browser: Browser, boss: Person, tasks: list[str], part: str
) -> None:
    person = Person(browser, live.url, name=boss.name)
    if part != "signed out":
        person.sign_in()
    pages = {"signed out": SIGNED_OUT, "owner": OWNERS, "staff": STAFF, "tasks": tasks}[part]
    pages = [address.format(name=boss.name) for address in pages]
    faults = {address: layout_faults(person.page, address) for address in pages}
    person.close()
    assert {address: found for address, found in faults.items() if found} == {}


@pytest.mark.parametrize("address", ["/tasks/", "/staff/tasks/"])
def test_fifty_rows_are_not_endless_on_a_telephone(
    live: Live, browser: Browser, boss: Person, tasks: list[str], address: str
) -> None:
    person = Person(browser, live.url, options={"viewport": {"width": 390, "height": 800}})
    person.name = boss.name
    person.sign_in()
    person.page.goto(address)
    rows = person.page.locator("tbody tr")
    assert rows.count() == 50
    heights = rows.evaluate_all("rows => rows.map(row => row.getBoundingClientRect().height)")
    assert max(heights) <= 2 * HIGHEST_ROW
    assert sum(heights) <= 50 * HIGHEST_ROW
    person.close()


def test_what_scrolls_can_be_scrolled_by_keyboard(
    live: Live, browser: Browser, boss: Person, tasks: list[str]
) -> None:
    person = Person(browser, live.url, options={"viewport": {"width": 390, "height": 800}})
    person.name = boss.name
    person.sign_in()
    page = person.page
    for address in tasks[6:8]:
        page.goto(address)
        log = page.locator("ol.lines, ol.log")
        log.evaluate("list => { list.scrollTop = 0; }")
        log.focus()
        page.keyboard.press("End")
        page.wait_for_timeout(500)
        assert log.evaluate("list => list.scrollTop") > 0
    person.close()


def layout_faults(page: Page, address: str) -> list[str]:
    """What is wrong with a page, in each theme at each width."""
    page.goto(address)
    page.evaluate((npm.installed(Path(__file__).parent) / "axe-core/axe.min.js").read_text())
    found: list[str] = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            page.wait_for_timeout(50)
            # What a theme changes is colours alone.
            rules = {} if theme == "light" else {"runOnly": DARK_RULES}
            for violation in page.evaluate("rules => axe.run(rules)", rules)["violations"]:
                nodes = [node["html"][:150] for node in violation["nodes"]][:3]
                found.append(f"{width} {theme}: axe {violation['id']}: {nodes}")
        found += [f"{width}: {text}" for text in page.evaluate(OVERLAPS)]
    return found
