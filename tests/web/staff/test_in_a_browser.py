"""The pages for staff in Debian's Chromium, with a live Taskyard."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.live_system import Live
from tests.web.browser import Person
from tests.web.test_browser import LARGEST_PICTURE, PICTURES

pytestmark = pytest.mark.servers
SOON = 20_000
READ = ("", "tasks/", "tasks/cancel/", "queues/", "errors/", "users/", "audit/")


@pytest.fixture
def boss(live: Live, new_person: Callable[..., Person]) -> Person:
    person = new_person(live)
    person.register()
    live.command(
        "manage",
        "shell",
        "-c",
        "from taskyard.accounts.models import User; "
        f"User.objects.filter(username={person.name!r}).update(is_staff=True)",
    )
    return person


def test_a_queue_is_paused_seen_to_wait_and_resumed(live: Live, boss: Person) -> None:
    overview = boss.open()
    overview.goto("/staff/")
    waiting = overview.locator(".tile.pending dd").first
    expect(waiting).to_have_text("0")
    page = boss.page
    page.goto("/staff/queues/")
    page.click("button[value=default]")
    try:
        expect(page.locator("main")).to_contain_text("queue paused")
        boss.submit("sum", input_numbers="1\n2\n3")
        expect(page.locator("#task-head .state")).to_have_text("Scheduled")
        # Without a reload. A task that another test left in its back-off may wait too.
        expect(waiting).to_have_text(re.compile("[1-9]"), timeout=SOON)
        expect(overview.locator("main")).to_contain_text("Paused: default")
    finally:
        queues = boss.open()
        queues.goto("/staff/queues/")
        queues.click("button[value=default]")
    expect(page.locator("#task-head .state")).to_have_text("Completed", timeout=SOON)
    expect(waiting).to_have_text("0", timeout=SOON)
    queues.goto("/staff/audit/")
    lines = queues.locator("tbody tr")
    expect(lines.nth(0)).to_contain_text("resumed the queue default")
    expect(lines.nth(1)).to_contain_text("paused the queue default")
    for each in (page, overview, queues):
        assert each.evaluate("window.seen.refused") == []


def test_the_broker_stopped_and_started_shows_and_heals(live: Live, boss: Person) -> None:
    page = boss.page
    page.goto("/staff/")
    alert = page.get_by_role("alert")
    expect(alert).to_have_count(0)
    live.stop_broker()
    try:
        expect(alert).to_contain_text("The broker does not answer.", timeout=SOON)
    finally:
        live.start_broker()
    expect(alert).to_have_count(0, timeout=SOON)
    assert boss.seen()["refused"] == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_pages_fit_a_telephone_and_read_without_a_script(
    live: Live, new_person: Callable[..., Person], boss: Person, theme: str
) -> None:
    small = new_person(
        live,
        viewport={"width": 360, "height": 700},
        color_scheme=theme,
        java_script_enabled=False,
    )
    small.name = boss.name
    small.sign_in()
    for address in READ:
        page = small.page
        page.goto(f"/staff/{address}")
        expect(page.get_by_role("main").get_by_role("heading", level=1)).to_have_count(1)
        assert page.locator("main").bounding_box()["width"] <= 360  # type: ignore[index]
        wide = page.locator("main > *, main table").all()
        for each in wide:
            box = each.bounding_box()
            assert box is None or box["x"] + box["width"] <= 360, (address, box)


def test_a_picture_is_taken(live: Live, new_person: Callable[..., Person], boss: Person) -> None:
    """Take a picture of the overview for docs/, unless there is one already."""
    busy = new_person(live)
    busy.register()
    script = f"from tests.web.staff.day import fill; fill({busy.name!r})"
    live.command("manage", "shell", "-c", script)
    for _ in range(3):
        busy.submit("countdown", input_seconds="60")
    for theme in ("light", "dark"):
        person = new_person(live, color_scheme=theme, viewport={"width": 960, "height": 480})
        person.name = boss.name
        person.sign_in()
        take_picture(person, theme)


def take_picture(person: Person, theme: str) -> None:
    person.page.goto("/staff/")
    person.page.wait_for_timeout(200)
    shot = person.page.screenshot()
    assert len(shot) <= LARGEST_PICTURE
    picture = PICTURES / f"staff-overview-{theme}.png"
    PICTURES.mkdir(exist_ok=True)
    if not picture.exists():
        picture.write_bytes(shot)
