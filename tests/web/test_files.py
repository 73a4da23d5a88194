"""Files on the page: the form, uploads, the list, previews, the page of a task."""

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from taskyard.accounts.models import User
from taskyard.core import intake, lifecycle, transitions
from taskyard.core.models import Task
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult
from taskyard.files import usage
from taskyard.files.models import State, StoredFile
from taskyard.files.writing import Saver, Writer, begin
from taskyard.web import file_list
from taskyard.web.views import files as views
from tests.configured import configure
from tests.fake_worker import take_lease
from tests.web import file_types  # noqa: F401  # registers them

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR\0\0\0\1\0\0\0\1\10\2\0\0\0" + b"\0" * 20
EVIL = "<script>alert(1)</script>"
SVG = f'<svg xmlns="http://www.w3.org/2000/svg">{EVIL}</svg>'.encode()
PART = {"HX-Request": "true"}
BYTES = "application/octet-stream"


def upload(owner: User, data: bytes = b"a,b\n1,2\n", name: str = "data.csv") -> StoredFile:
    writer = Writer(begin(owner.pk, name, size=len(data)), is_size_known=True)
    writer.write(data)
    return writer.complete()


def submit(owner: User, file: StoredFile) -> Task:
    body = {"task_type": "takes-a-file", "input_data": {"file": file.pk}}
    return lifecycle.submit(owner.pk, intake.parse_task(body))


def send(page: Client, data: bytes, name: str = "data.csv", query: str = "") -> Any:
    return page.post(f"/files/upload/?name={name}{query}", data, content_type=BYTES)


def post(page: Client, name: str = "takes-files", **fields: Any) -> Any:
    return page.post(f"/tasks/new/{name}/", fields)


def about(answer: Any, name: str) -> str:
    return html.unescape(str(answer.text.split(f'id="{name}-about"')[1].split("</div>")[0]))


@pytest.fixture
def eve(new_user: Callable[..., User], browse: Callable[[User], Client]) -> Client:
    return browse(new_user("eve"))


# The form


def test_the_form_has_a_picker_for_one_file_and_for_several(page: Client, ann: User) -> None:
    upload(ann, PNG, "photo.png")
    upload(ann, b"x", "notes.txt")
    text = page.get("/tasks/new/takes-files/").text
    assert 'enctype="multipart/form-data"' in text
    one, several = text.split('data-name="/tables"')
    assert 'accept="image/png,image/jpeg"' in one
    assert "at most 1.9" in about(page.get("/tasks/new/takes-files/"), "input-picture")
    assert ("photo.png ·" in one, "notes.txt ·" in one) == (True, False)
    assert ("photo.png ·" in several, "notes.txt ·" in several) == (False, True)
    assert " multiple" in several
    assert " multiple" not in one.split('data-name="/picture"')[1]


def test_files_that_are_chosen_are_submitted(page: Client, ann: User) -> None:
    picture, first, second = upload(ann, PNG, "p.png"), upload(ann), upload(ann, b"x", "t.txt")
    # The last choice of one file counts; empty choices of several do not.
    answer = post(
        page,
        **{"/picture": [first.pk, picture.pk, ""], "/tables": ["", first.pk, second.pk, ""]},
        **{"/seconds": "0"},
    )
    task = Task.objects.get()
    assert answer.url == f"/tasks/{task.pk}/"
    assert task.input_data["picture"] == picture.pk
    assert task.input_data["tables"] == [first.pk, second.pk]
    again = page.get(f"/tasks/new/takes-files/?from={task.pk}").text
    assert re.findall(r'type="hidden" name="/picture" value="(\d+)"', again) == [str(picture.pk)]
    assert re.findall(r'type="hidden" name="/tables" value="(\d+)"', again) == [
        str(first.pk),
        str(second.pk),
    ]
    assert "data.csv" in again


def test_a_file_is_taken_back_without_scripts(page: Client, ann: User) -> None:
    picture, first, second = upload(ann, PNG, "p.png"), upload(ann), upload(ann)
    chosen = {"/picture": picture.pk, "/tables": [first.pk, second.pk]}
    text = post(page, do="remove /tables 0", **chosen).text
    assert re.findall(r'type="hidden" name="/tables" value="(\d+)"', text) == [str(second.pk)]
    text = post(page, do="remove /picture 0", **chosen).text
    assert 'type="hidden" name="/picture"' not in text
    assert not Task.objects.exists()


def test_the_form_keeps_the_files_that_it_sends_itself(page: Client, ann: User) -> None:
    files = {
        "upload /picture": SimpleUploadedFile("p.png", PNG),
        "upload /tables": [SimpleUploadedFile(f"{n}.txt", b"x") for n in range(2)],
    }
    answer = post(page, **files, **{"/seconds": "many"})
    # The files are kept though another field is wrong.
    assert answer.status_code == 400
    stored = list(StoredFile.objects.order_by("pk"))
    assert [file.name for file in stored] == ["p.png", "0.txt", "1.txt"]
    chosen = re.findall(r'type="hidden" name="/\w+" value="(\d+)"', answer.text)
    assert chosen == [str(file.pk) for file in stored]
    fields = {"/picture": chosen[0], "/tables": chosen[1:]}
    assert post(page, **fields, **{"/seconds": "1"}).status_code == 302
    with storages["taskyard"].open(stored[0].key) as stream:
        assert stream.read() == PNG


def test_what_a_form_sends_beyond_the_limits_is_refused_at_its_field(
    page: Client, ann: User, settings: Any
) -> None:
    configure(settings, FILES_PER_USER=100, FILE_LIMIT=50)
    answer = post(page, "takes-a-file", **{"upload /file": SimpleUploadedFile("a.txt", b"x" * 51)})
    assert answer.status_code == 400
    assert "a.txt: " in about(answer, "input-file")
    assert not StoredFile.objects.exists()
    assert not Task.objects.exists()


@pytest.mark.parametrize(
    ("data", "name", "field", "text"),
    [
        (b"x", "a.txt", "picture", "text/plain"),
        (PNG + b"\0" * 2_000_000, "a.png", "picture", "2000000"),
        (PNG, "a.png", "tables", "1: The file is image/png"),
    ],
)
def test_the_server_refuses_a_file_at_its_field(
    page: Client, ann: User, data: bytes, name: str, field: str, text: str
) -> None:
    fields = {"/picture": upload(ann, PNG, "p.png").pk}
    fields[f"/{field}"] = upload(ann, data, name).pk
    answer = post(page, **fields)
    assert answer.status_code == 400
    assert text in about(answer, f"input-{field}")
    assert not Task.objects.exists()


@pytest.mark.parametrize("given", ["another's", "999999", "x", "-1", "9" * 30, "1.5", "<b>"])
def test_a_file_that_is_not_the_users_is_refused_at_its_field(
    page: Client, new_user: Callable[..., User], given: str
) -> None:
    file_id = upload(new_user("eve"), name="of-eve.csv").pk if given == "another's" else given
    answer = post(page, "takes-a-file", **{"/file": file_id})
    assert answer.status_code == 400
    assert '<p class="error">' in about(answer, "input-file")
    assert "of-eve.csv" not in answer.text
    assert "<b>" not in answer.text.split('id="fields"')[1].split("</ul>")[0]


def test_rows_of_objects_have_pickers(page: Client, ann: User) -> None:
    first, second = upload(ann), upload(ann)
    fields = {"/chapters": ["0", "1"], "/chapters/0/title": "a", "/chapters/1/title": "b"}
    fields |= {"/chapters/0/text": str(first.pk), "/chapters/1/text": str(second.pk)}
    text = post(page, "takes-chapters", do="remove /chapters 0", **fields).text
    assert re.findall(r'name="(/chapters\S+text)" value="(\d+)"', text) == [
        ("/chapters/0/text", str(second.pk))
    ]
    assert post(page, "takes-chapters", **fields).status_code == 302
    chapters = Task.objects.get().input_data["chapters"]
    assert [chapter["text"] for chapter in chapters] == [first.pk, second.pk]


# Uploads of the scripts


def test_a_small_file_goes_in_one_request(page: Client, ann: User) -> None:
    answer = send(page, PNG, "photo.png").json()
    file = StoredFile.objects.get(state=State.READY)
    assert answer == {
        "id": file.pk,
        "name": "photo.png",
        "content_type": "image/png",
        "size": len(PNG),
        "size_text": f"{len(PNG)}\xa0bytes",
    }
    assert file.owner_id == ann.pk


def test_a_large_file_goes_in_pieces(page: Client, ann: User) -> None:
    begun = send(page, b"", "big.bin", "&size=10").json()
    assert (begun["offset"], begun["piece"]) == (0, views.PIECE_BYTES)
    url = begun["url"]

    def piece(data: bytes, offset: int) -> Any:
        return page.patch(f"{url}?offset={offset}", data, content_type=BYTES)

    assert piece(b"\x00123", 0).json()["offset"] == 4
    # The script has missed a response: it asks, and goes on.
    assert piece(b"\x00123", 0).status_code == 503
    assert page.get(url).json()["offset"] == 4
    whole = piece(b"456789", 4).json()
    assert (whole["id"], whole["size"]) == (StoredFile.objects.get().pk, 10)
    assert page.get(url).json() == whole
    with storages["taskyard"].open(StoredFile.objects.get().key) as stream:
        assert stream.read() == b"\x00123456789"


def test_an_upload_that_is_cancelled_takes_no_space(page: Client, ann: User) -> None:
    url = send(page, b"", "big.bin", "&size=10").json()["url"]
    page.patch(f"{url}?offset=0", b"0123", content_type=BYTES)
    assert usage.of(ann.pk) == 10
    assert page.delete(url).status_code == 204
    assert (usage.of(ann.pk), StoredFile.objects.exists()) == (0, False)
    assert page.delete(url).status_code == 404
    used = upload(ann)
    submit(ann, used)
    assert page.delete(f"/files/{used.pk}/upload/").status_code == 400


def test_more_bytes_than_announced_are_refused(page: Client, ann: User) -> None:
    url = send(page, b"", "big.bin", "&size=3").json()["url"]
    answer = page.patch(f"{url}?offset=0", b"12345", content_type=BYTES)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert page.get(url).status_code == 404
    assert usage.of(ann.pk) == 0


@pytest.mark.parametrize("query", ["", "&size=51"])
def test_an_upload_beyond_the_limits_is_refused(
    page: Client, ann: User, settings: Any, query: str
) -> None:
    configure(settings, FILES_PER_USER=50, FILE_LIMIT=50)
    answer = send(page, b"x" * 51, "a.txt", query)
    assert answer.status_code == 400
    assert "50" in answer.json()["error"]
    assert not StoredFile.objects.exclude(state=State.DELETING).exists()


def test_an_upload_needs_the_session_and_the_token(ann: User) -> None:
    for path in ("/files/upload/?name=a", "/files/upload/?name=a&size=3"):
        assert Client().post(path, b"x", content_type=BYTES, headers=PART).status_code == 401
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ann)
    strict.get("/tasks/new/takes-files/")
    form = {"content_type": BYTES, "headers": {"X-CSRFToken": strict.cookies["csrftoken"].value}}
    assert strict.post("/files/upload/?name=a", b"x", content_type=BYTES).status_code == 403
    assert strict.post("/files/upload/?name=a", b"x", **form).status_code == 200
    url = strict.post("/files/upload/?name=a&size=3", b"", **form).json()["url"]
    assert strict.patch(f"{url}?offset=0", b"123", content_type=BYTES).status_code == 403
    assert strict.delete(url).status_code == 403
    assert strict.patch(f"{url}?offset=0", b"123", **form).json()["id"]


# Access


@pytest.mark.parametrize("path", ["content/", "image/", "text/", "upload/", "delete/"])
def test_anothers_file_is_as_if_it_were_not_there(eve: Client, ann: User, path: str) -> None:
    file = upload(ann, PNG if path == "image/" else b"x", "a.png" if path == "image/" else "a.txt")
    ask = eve.post if path == "delete/" else eve.get
    for file_id in (file.pk, file.pk + 1, 2**63, 10**30):
        assert ask(f"/files/{file_id}/{path}").status_code == 404
        assert eve.delete(f"/files/{file_id}/upload/").status_code == 404
    assert StoredFile.objects.get().state == State.READY
    assert "a.txt" not in eve.get("/files/").text


@pytest.mark.parametrize("path", ["", "1/content/", "1/image/", "1/text/"])
@pytest.mark.django_db
def test_nobody_is_asked_to_sign_in_first(path: str) -> None:
    assert Client().get(f"/files/{path}").url == f"/sign-in/?next=/files/{path}"


# The list


def test_the_list_says_what_each_file_is_for(page: Client, ann: User, settings: Any) -> None:
    configure(settings, FILES_PER_USER=1000)
    used, unused = upload(ann, b"x" * 100, "used.csv"), upload(ann, b"y" * 50, f"{EVIL}.csv")
    task = submit(ann, used)
    begin(ann.pk, "cut.bin", size=350, resumable=True)
    answer = page.get("/files/")
    rows = {row.file.pk: row for row in answer.context["list"].rows}
    assert list(rows) == sorted(rows, reverse=True)
    assert rows[used.pk].task_ids == [task.pk]
    assert rows[used.pk].file.expires_at is None
    assert rows[unused.pk].task_ids == []
    assert rows[unused.pk].file.expires_at is not None
    assert "500\xa0bytes of 1000\xa0bytes" in answer.text
    assert "the upload has not finished" in answer.text
    assert EVIL not in answer.text


def test_a_file_of_many_tasks_shows_the_latest(page: Client, ann: User) -> None:
    configure_limit(ann)
    file = upload(ann)
    ids = [submit(ann, file).pk for _ in range(7)]
    (row,) = page.get("/files/").context["list"].rows
    assert row.task_ids == ids[:1:-1]
    assert row.has_more


def configure_limit(owner: User) -> None:
    from taskyard.core.models import Quota

    Quota.objects.filter(user=owner).update(active_limit=100)


def test_its_pages_go_on(page: Client, ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_list, "PAGE_SIZE", 2)
    ids = [upload(ann).pk for _ in range(3)]
    first = page.get("/files/").context["list"]
    assert [row.file.pk for row in first.rows] == [ids[2], ids[1]]
    second = page.get(f"/files/?before={first.older}").context["list"]
    assert ([row.file.pk for row in second.rows], second.older) == ([ids[0]], None)


def test_a_file_is_deleted_unless_a_task_uses_it(page: Client, ann: User) -> None:
    file = upload(ann)
    task = submit(ann, file)
    answer = page.post(f"/files/{file.pk}/delete/", follow=True)
    assert "A task that has not ended uses the file." in answer.text
    lifecycle.cancel(task.pk, by_id=ann.pk)
    assert "Deleted: data.csv." in page.post(f"/files/{file.pk}/delete/", follow=True).text
    assert not StoredFile.objects.exists()
    assert usage.of(ann.pk) == 0
    # An upload that was given up.
    cut = begin(ann.pk, "cut.bin", size=350, resumable=True)
    page.post(f"/files/{cut.pk}/delete/")
    assert usage.of(ann.pk) == 0


# Downloads and previews


def test_a_download_is_an_attachment(page: Client, ann: User) -> None:
    file = upload(ann, f"<html>{EVIL}".encode(), "page.html")
    answer = page.get(f"/files/{file.pk}/content/")
    assert b"".join(answer.streaming_content) == f"<html>{EVIL}".encode()
    assert answer.headers["Content-Disposition"] == 'attachment; filename="page.html"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("sandbox")
    assert answer.headers["Content-Type"] == BYTES
    part = page.get(f"/files/{file.pk}/content/", headers={"Range": "bytes=1-4"})
    assert (part.status_code, b"".join(part.streaming_content)) == (206, b"html")


def test_an_image_is_shown_in_a_sandbox(page: Client, ann: User) -> None:
    file = upload(ann, PNG, "photo.png")
    answer = page.get(f"/files/{file.pk}/image/")
    assert answer.content == PNG
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"


@pytest.mark.parametrize(
    ("data", "name", "is_text"),
    [
        (SVG, "a.svg", True),
        (SVG, "a.png", True),
        (f"<html>{EVIL}".encode(), "a.html", True),
        (f"GIF89a{EVIL}".encode(), "a.html", True),
        (b"%PDF-1.4\n%\xff\xff\xff\xff\n", "a.pdf", False),
        (b"MZ\0\0" * 10, "a.png", False),
        (PNG + b"\0" * 11 * 2**20, "huge.png", False),
    ],
    ids=["svg", "svg as png", "html", "gif and html", "pdf", "exe as png", "huge"],
)
def test_nothing_else_is_shown_as_an_image_and_text_is_escaped(
    page: Client, ann: User, data: bytes, name: str, is_text: bool
) -> None:
    file = upload(ann, data, name)
    task = submit(ann, file)
    assert page.get(f"/files/{file.pk}/image/").status_code == 404
    assert "<img" not in page.get(f"/tasks/{task.pk}/").text
    for headers in ({}, PART):
        answer = page.get(f"/files/{file.pk}/text/", headers=headers)
        assert answer.status_code == (200 if is_text else 404)
        if is_text:
            assert html.escape(EVIL) in answer.text
            assert EVIL not in answer.text
            assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_a_long_text_is_cut_between_characters(page: Client, ann: User) -> None:
    file = upload(ann, b"x" + "ё".encode() * 40_000, "long.txt")
    text = page.get(f"/files/{file.pk}/text/", headers=PART).text
    assert "Only the beginning is shown." in text
    assert re.search("<pre[^>]*>(.*)</pre>", text)[1] == "x" + "ё" * 32_767  # type: ignore[index]
    short = upload(ann, b"", "empty.txt")
    assert "Only the beginning" not in page.get(f"/files/{short.pk}/text/", headers=PART).text


def test_bytes_that_are_lost_are_said(page: Client, ann: User) -> None:
    text, image = upload(ann), upload(ann, PNG, "a.png")
    for file in (text, image):
        storages["taskyard"].delete(file.key)
    answer = page.get(f"/files/{text.pk}/text/")
    assert answer.status_code == 410
    assert "The storage has lost the bytes of the file data.csv." in answer.text
    assert page.get(f"/files/{image.pk}/image/").status_code == 410
    download = page.get(f"/files/{image.pk}/content/")
    assert (download.status_code, "Retry-After" in download.headers) == (410, False)
    assert "The storage has lost the bytes of the file a.png." in download.text


def test_bytes_that_cannot_be_read_now_are_said(page: Client, ann: User) -> None:
    text, image = upload(ann), upload(ann, PNG, "a.png")
    folder = Path(storages["taskyard"].location)  # type: ignore[attr-defined]
    away = folder.rename(folder.with_name("away"))
    answer = page.get(f"/files/{text.pk}/text/")
    assert answer.status_code == 503
    assert "The file cannot be read now." in answer.text
    assert page.get(f"/files/{image.pk}/image/").status_code == 503
    download = page.get(f"/files/{image.pk}/content/")
    assert (download.status_code, download.headers["Retry-After"]) == (503, "5")
    assert "The storage of files is unavailable" in download.text
    away.rename(folder)
    assert page.get(f"/files/{text.pk}/text/").status_code == 200


# The page of a task


def test_the_files_of_a_task_appear_when_it_ends(page: Client, ann: User) -> None:
    image, table = upload(ann, PNG, "photo.png"), upload(ann)
    body = {
        "task_type": "takes-files",
        "input_data": {"picture": image.pk, "tables": [table.pk]},
    }
    task = lifecycle.submit(ann.pk, intake.parse_task(body))
    text = page.get(f"/tasks/{task.pk}/").text
    assert f'<img src="/files/{image.pk}/image/"' in text
    assert f'<details data-src="/files/{table.pk}/text/">' in text
    worker_id = take_lease("default")
    (claimed,) = lifecycle.claim("default", {"takes-files": 1}, worker_id=worker_id, process=1)[0]
    saver = Saver(claimed.id, claimed.attempt, claimed.fence)
    writer = Writer(begin(ann.pk, f"{EVIL}.txt", size=None, saver=saver), is_size_known=False)
    writer.write(b"out")
    output = writer.complete()
    part = f"/tasks/{task.pk}/part/"
    assert "task-files" not in page.get(part).text
    transitions.finish([AttemptResult(claimed, Status.COMPLETED, result="1", saved_files=True)])
    for path in (part, f"/tasks/{task.pk}/"):
        text = page.get(path).text
        assert f'id="output-{output.pk}"' in text
        assert f'href="/files/{output.pk}/content/"' in text
        assert f'id="input-{image.pk}"' in text
        assert EVIL not in text


def test_a_result_that_is_a_file_is_a_link(page: Client, ann: User) -> None:
    body = {"task_type": "returns-a-file", "input_data": {"name": "a.txt"}}
    task = lifecycle.submit(ann.pk, intake.parse_task(body))
    worker_id = take_lease("default")
    (claimed,) = lifecycle.claim("default", {"returns-a-file": 1}, worker_id=worker_id, process=1)[
        0
    ]
    transitions.finish([AttemptResult(claimed, Status.COMPLETED, result="17")])
    shown = page.get(f"/tasks/{task.pk}/").text.split('id="result-title"')[1]
    assert '<a href="/files/17/content/" download>File 17</a>' in shown
    assert "<pre" not in shown.split("</section>")[0]


def test_a_task_without_files_shows_no_files(page: Client, ann: User) -> None:
    new = intake.parse_task({"task_type": "takes-a-file", "input_data": {}})
    task = lifecycle.submit(ann.pk, new)
    text = page.get(f"/tasks/{task.pk}/").text
    assert re.search(r'<section id="task-files"[^>]* hidden>', text)
    assert "/content/" not in text
