"""What the storage holds and whose, for staff."""

from collections.abc import Callable

import pytest
from django.test import Client

from taskyard.accounts.models import User
from taskyard.core import intake, lifecycle
from taskyard.core.models import AuditEntry
from taskyard.files import usage
from taskyard.files.models import State, StoredFile
from taskyard.files.writing import begin
from tests.web import file_types  # noqa: F401  # registers them
from tests.web.staff.conftest import browser_of
from tests.web.test_files import EVIL, upload

Stats = dict[str, tuple[int, int]]


def amounts(page: Client) -> Stats:
    context = page.get("/staff/files/").context
    names = ("total", "unfinished", "waiting", "without_owner")
    return {name: (context[name].count, context[name].bytes) for name in names}


def test_it_says_what_is_held_and_whose(
    page: Client, owner: User, boss: User, new_user: Callable[..., User]
) -> None:
    assert "No user has files." in page.get("/staff/files/").text
    small = new_user("small")
    upload(owner, b"x" * 60)
    upload(owner, b"x" * 40)
    upload(small, b"x" * 10)
    begin(boss.pk, "cut.bin", size=50, resumable=True)
    gone = upload(owner, b"x" * 7)
    StoredFile.objects.filter(pk=gone.pk).update(state=State.DELETING)
    usage.give_back(owner.pk, 7)
    StoredFile.objects.filter(pk=upload(boss, b"x" * 5).pk).update(owner=None)
    usage.give_back(boss.pk, 5)
    answer = page.get("/staff/files/")
    rows = [(row["user"].username, row["bytes"], row["count"]) for row in answer.context["rows"]]
    assert rows == [("owner", 100, 2), ("boss", 50, 1), ("small", 10, 1)]
    assert amounts(page) == {
        "total": (5, 165),
        "unfinished": (1, 50),
        "waiting": (1, 7),
        "without_owner": (1, 5),
    }
    assert [row.file.size for row in page.get("/staff/files/?owner=").context["list"].rows] == [5]


def test_a_user_has_a_page_of_files(page: Client, owner: User) -> None:
    file = upload(owner, b"x" * 60, f"{EVIL}.txt")
    body = {"task_type": "takes-a-file", "input_data": {"file": file.pk}}
    task = lifecycle.submit(owner.pk, intake.parse_task(body))
    assert 'href="/staff/files/?owner=owner"' in page.get("/staff/users/").text
    answer = page.get("/staff/files/?owner=owner")
    (row,) = answer.context["list"].rows
    assert (row.file, row.task_ids) == (file, [task.pk])
    assert EVIL not in answer.text
    assert f"{file.pk} · used by the task" in page.get(f"/staff/tasks/{task.pk}/").text
    assert page.get("/staff/files/?owner=nobody").status_code == 404


def test_staff_delete_a_file_and_leave_a_line(page: Client, owner: User) -> None:
    file = upload(owner)
    body = {"task_type": "takes-a-file", "input_data": {"file": file.pk}}
    task = lifecycle.submit(owner.pk, intake.parse_task(body))
    address = f"/staff/files/{file.pk}/delete/"
    assert "has not ended uses the file" in page.post(address, follow=True).text
    assert not AuditEntry.objects.exists()
    lifecycle.cancel(task.pk, by_id=None)
    assert page.post(address).status_code == 302
    assert not StoredFile.objects.exists()
    lines = AuditEntry.objects.values_list("by_name", "action", "target")
    assert list(lines) == [("boss", "delete_file", str(file.pk))]
    assert "deleted the file" in page.get("/staff/audit/").text
    assert page.post(address).status_code == 404


@pytest.mark.parametrize("file_id", [0, 987654, 2**63, 10**30])
def test_a_file_that_is_none_is_not_there(page: Client, file_id: int) -> None:
    assert page.post(f"/staff/files/{file_id}/delete/").status_code == 404


def test_owners_do_not_see_the_storage(owner: User, boss: User) -> None:
    file = upload(boss)
    client = browser_of(owner)
    assert client.get("/staff/files/").status_code == 404
    assert client.post(f"/staff/files/{file.pk}/delete/").status_code == 404
    assert "/staff/files/" not in client.get("/files/").text
    assert StoredFile.objects.exists()


def test_the_admin_reads_files_only(new_user: Callable[..., User], owner: User) -> None:
    file = upload(owner)
    admin = browser_of(new_user("root", is_staff=True, is_superuser=True))
    address = "/admin/taskyard_files/storedfile/"
    assert "data.csv" in admin.get(f"{address}?q=owner").text
    shown = admin.get(f"{address}{file.pk}/change/")
    assert shown.status_code == 200
    assert file.key not in shown.text
    assert admin.post(f"{address}{file.pk}/change/", {"name": "x"}).status_code == 403
    assert admin.post(f"{address}{file.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin.get(f"{address}add/").status_code == 403
