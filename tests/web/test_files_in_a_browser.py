"""Files on the page in Debian's Chromium, with a live Taskyard."""

import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.live_system import Live
from tests.web.browser import Person, chromium
from tests.web.test_browser import new_person

__all__ = ["new_person"]
pytestmark = pytest.mark.servers
EVIL = "<img src=x onerror=alert(1)>"
ENDED = re.compile("completed")
PIECES = "**/files/*/upload/**"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def person(live: Live, new_person: Callable[..., Person]) -> Iterator[Person]:
    person = new_person(live)
    person.register()
    yield person
    assert person.seen()["refused"] == []


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = b"".join(b"\0" + bytes((200, row, 90)) * 60 for row in range(40))
    header = struct.pack(">IIBBBBB", 60, 40, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path = tmp_path / "photo.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / f"table {EVIL.replace('/', '')}.csv"
    path.write_text(f"name\n{EVIL}\n")
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(40_000_000))
    return path


def picked(page: Page, name: str) -> list[str]:
    return page.locator(f"#input-{name}-files .file-name").all_inner_texts()


def uploaded(page: Page, name: str, many: int = 1) -> None:
    expect(page.locator(f'#input-{name}-files input[type="hidden"]')).to_have_count(many)


def test_files_are_uploaded_submitted_and_shown(
    person: Person, picture: Path, table: Path, tmp_path: Path
) -> None:
    page = person.page
    page.goto("/tasks/new/takes-files/")
    notes = tmp_path / "notes.txt"
    notes.write_text("one\ntwo\n")
    page.set_input_files("#input-picture", picture)
    page.set_input_files("#input-tables", [table, notes])
    # The form waits for the uploads.
    page.click("main button.primary")
    page.wait_for_url(re.compile(r"/tasks/\d+/$"))
    expect(page.locator("#task-head .state")).to_have_class(ENDED)
    files = page.locator("#task-inputs > li")
    expect(files).to_have_count(3)
    image = page.locator("#task-inputs img")
    image.scroll_into_view_if_needed()
    expect(image).to_have_js_property("naturalWidth", 60)
    shown = files.filter(has_text="text/csv")
    shown.locator("summary").click()
    expect(shown.locator("pre")).to_contain_text(EVIL)
    with page.expect_download() as download:
        files.filter(has_text="photo.png").get_by_role("link").click()
    assert download.value.suggested_filename == "photo.png"
    assert Path(download.value.path()).read_bytes() == picture.read_bytes()
    page.goto("/files/")
    expect(page.locator("tbody tr")).to_have_count(3)
    assert page.locator("img").count() == 0


def test_an_open_preview_stays_when_the_task_ends(person: Person, table: Path) -> None:
    page = person.page
    page.goto("/tasks/new/takes-a-file/")
    page.set_input_files("#input-file", table)
    page.fill("#input-seconds", "3")
    uploaded(page, "file")
    page.click("main button.primary")
    page.click("#task-inputs summary")
    expect(page.locator("#task-inputs pre")).to_contain_text(EVIL)
    expect(page.locator("#task-head .state")).to_have_class(ENDED)
    expect(page.locator("#task-inputs pre")).to_be_visible()


def test_what_a_task_saves_appears_when_it_ends(person: Person) -> None:
    page = person.page
    person.submit("saves-files", input_names="report.txt", input_seconds="2")
    expect(page.locator("#task-head .state")).to_have_text("Running")
    assert not page.is_visible("#task-files")
    page.evaluate("window.stays = true")
    expect(page.locator("#task-head .state")).to_have_class(ENDED)
    page.click("#task-outputs summary")
    expect(page.locator("#task-outputs pre")).to_have_text("The text of report.txt")
    assert page.evaluate("window.stays") is True


def test_files_are_dropped(person: Person) -> None:
    page = person.page
    page.goto("/tasks/new/takes-files/")
    page.evaluate(
        """() => {
          const data = new DataTransfer();
          for (const name of ["a.txt", "b.txt"]) data.items.add(new File(["x"], name));
          const event = {dataTransfer: data, bubbles: true, cancelable: true};
          document.querySelector("#input-tables-files").dispatchEvent(new DragEvent("drop", event));
        }"""
    )
    uploaded(page, "tables", 2)
    assert picked(page, "tables") == ["a.txt", "b.txt"]
    # The request beside the form has their ids.
    expect(page.locator("#preview")).to_contain_text(re.compile(r'"tables": \[\s+\d+,\s+\d+\s+\]'))


def test_a_file_that_does_not_fit_is_refused_before_its_upload(
    person: Person, picture: Path, large: Path
) -> None:
    page = person.page
    page.goto("/tasks/new/takes-files/")
    asked: list[str] = []
    page.on("request", lambda request: "/files/" in request.url and asked.append(request.url))
    large = large.rename(large.with_name("huge.png"))
    page.set_input_files("#input-picture", large)
    field = page.locator("#input-picture-files")
    expect(field.locator(".error")).to_have_text("The file is too large.")
    page.set_input_files("#input-tables", picture)
    expect(page.locator("#input-tables-files .error")).to_contain_text("files of this type")
    assert asked == []
    page.set_input_files("#input-picture", picture)
    uploaded(page, "picture")
    expect(field.locator(".error")).to_have_count(0)


def test_the_server_decides_by_the_bytes(person: Person, tmp_path: Path) -> None:
    page = person.page
    page.goto("/tasks/new/takes-files/")
    lie = tmp_path / "photo.png"
    lie.write_text("no photo")
    page.set_input_files("#input-picture", lie)
    expect(page.locator("#input-picture-files .error")).to_contain_text("files of this type")
    assert page.locator('input[type="hidden"][name="/picture"]').count() == 0


def test_an_upload_is_cancelled(person: Person, large: Path) -> None:
    page = person.page
    page.goto("/tasks/new/takes-a-file/")
    deleted = re.compile(r"/files/\d+/upload/$")
    page.route(PIECES, lambda route: route.request.method == "DELETE" and route.continue_())
    with page.expect_request(lambda request: request.method == "PATCH"):
        page.set_input_files("#input-file", large)
    expect(page.locator("progress")).to_have_count(1)
    with page.expect_response(deleted) as answer:
        page.click('#input-file-files button[title="Cancel"]')
    assert (answer.value.request.method, answer.value.status) == ("DELETE", 204)
    expect(page.locator("progress")).to_have_count(0)
    assert picked(page, "file") == []
    expect(page.locator("#input-file")).to_be_focused()


def test_an_upload_continues_after_the_server_was_away(
    new_live: Callable[..., Live], new_person: Callable[..., Person], large: Path
) -> None:
    live = new_live()
    person = new_person(live)
    person.register()
    page = person.page
    page.goto("/tasks/new/takes-a-file/")
    asked: list[str] = []
    page.on("request", lambda each: each.method == "PATCH" and asked.append(each.url))
    network = person.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1}
    network.send("Network.enable")
    network.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": 8_000_000})
    page.set_input_files("#input-file", large)
    expect(page.locator(".picked .hint")).to_have_text(re.compile(r"[3-6]\d %"))
    live.kill_web()
    expect(page.locator(".picked .hint")).to_contain_text("No connection.")
    network.send("Network.emulateNetworkConditions", {**slow, "uploadThroughput": -1})
    live.start_web()
    uploaded(page, "file")
    page.click("main button.primary")
    page.wait_for_url(re.compile(r"/tasks/\d+/$"))
    with page.expect_download() as download:
        page.click("#task-inputs a")
    assert Path(download.value.path()).read_bytes() == large.read_bytes()
    assert len(asked) >= 2


def test_an_upload_goes_on_while_the_form_changes(
    person: Person, large: Path, tmp_path: Path
) -> None:
    page = person.page
    page.goto("/tasks/new/takes-chapters/")
    page.click("text=+ Add")
    held: list[Route] | None = []

    def hold(route: Route) -> None:
        if held is None:
            route.continue_()
        else:
            held.append(route)

    page.route(PIECES, hold)
    page.set_input_files("#input-chapters--0--text", large)
    expect(page.locator("progress")).to_have_count(1)
    page.click("text=+ Add")
    expect(page.locator("#input-chapters--1--text")).to_have_count(1)
    first, held = held, None
    for route in first:
        route.continue_()
    uploaded(page, "chapters--0--text")
    small = tmp_path / "second.txt"
    small.write_text("two")
    page.set_input_files("#input-chapters--1--text", small)
    uploaded(page, "chapters--1--text")
    # A row that is removed takes its file with it, and the next row keeps its own.
    page.click("text=Remove Chapters 1 >> visible=true")
    expect(page.locator(".item")).to_have_count(1)
    assert picked(page, "chapters--0--text") == ["second.txt"]


def test_a_file_of_before_is_chosen_by_keyboard(person: Person, table: Path) -> None:
    page = person.page
    page.goto("/tasks/new/takes-a-file/")
    with page.expect_file_chooser() as chooser:
        page.focus("#input-file")
        page.keyboard.press("Enter")
    chooser.value.set_files(table)
    uploaded(page, "file")
    remove = page.locator("[data-remove-file]")
    expect(remove).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#input-file")).to_be_focused()
    page.reload()
    page.focus("#input-file-files select")
    page.keyboard.press("ArrowDown")
    uploaded(page, "file")
    assert len(picked(page, "file")) == 1
    page.click("main button.primary")
    expect(page.locator("#task-inputs > li")).to_have_count(1)


def test_a_file_is_sent_with_the_form_without_javascript(
    live: Live, new_person: Callable[..., Person], picture: Path, table: Path
) -> None:
    person = new_person(live, java_script_enabled=False)
    person.register()
    page = person.page
    page.goto("/tasks/new/takes-files/")
    expect(page.locator("main")).to_contain_text("you can upload small files only")
    page.set_input_files("#input-picture", picture)
    page.set_input_files("#input-tables", [table, table])
    page.fill("#input-seconds", "soon")
    page.click("main button.primary")
    expect(page.locator("#input-seconds-about .error")).to_have_count(1)
    assert len(picked(page, "tables")) == 2
    page.click("#input-tables-files [data-remove-file] >> nth=0")
    assert len(picked(page, "tables")) == 1
    page.fill("#input-seconds", "0")
    page.click("main button.primary")
    page.wait_for_url(re.compile(r"/tasks/\d+/$"))
    expect(page.locator("#task-inputs > li")).to_have_count(2)
    page.click("#task-inputs >> text=Preview")
    page.click("text=Open the preview")
    expect(page.locator("main pre")).to_contain_text(EVIL)


def test_a_session_that_has_ended_is_said(person: Person, table: Path) -> None:
    page = person.page
    page.goto("/tasks/new/takes-a-file/")
    (token,) = [each for each in person.context.cookies() if each["name"] == "csrftoken"]
    person.context.clear_cookies()
    person.context.add_cookies([{**token, "url": person.url, "path": None, "domain": None}])  # type: ignore[typeddict-item]
    page.set_input_files("#input-file", table)
    expect(page.locator(".picked .error")).to_contain_text("You are signed out.")
