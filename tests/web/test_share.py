"""Links on the page: the form that makes one, and the page that a link opens."""

import html
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from taskyard.accounts.models import User
from taskyard.core import sharing
from taskyard.core.models import AuditEntry
from tests.web.test_tasks import submit


def tokens(answer: Any) -> set[str]:
    return set(re.findall(r"tys1_[\w-]{56}", html.unescape(answer.text)))


def test_an_owner_makes_a_link(page: Client, ann: User) -> None:
    (task,) = submit(ann)
    address = f"/tasks/{task.pk}/share/"
    assert f'href="{address}"' in page.get(f"/tasks/{task.pk}/").text
    form = page.get(address)
    assert form.status_code == 200
    assert tokens(form) == set()
    made = page.post(address, {"lifetime": "3600", "files": "yes"})
    assert made.status_code == 200
    assert "no-store" in made.headers["Cache-Control"]
    (token,) = tokens(made)
    assert f"http://testserver/shared/#{token}" in made.text
    assert "&lt;taskyard-progress src=&quot;http://testserver/api/shared/&quot;" in made.text
    share = sharing.read(token)
    assert (share.task.pk, share.files) == (task.pk, True)
    assert 3590 < share.expires_at - time.time() < 3602
    (line,) = AuditEntry.objects.filter(action="share_task")
    assert (line.by, line.action, line.target) == (ann, "share_task", str(task.pk))
    # The link is shown once.
    assert tokens(page.get(address)) == set()


@pytest.mark.parametrize("lifetime", ["", "0", "-1", "99999999999", "a", "\0", "3600.0"])
def test_a_lifetime_that_is_not_offered_is_the_usual_one(
    page: Client, ann: User, lifetime: str
) -> None:
    (task,) = submit(ann)
    (token,) = tokens(page.post(f"/tasks/{task.pk}/share/", {"lifetime": lifetime}))
    share = sharing.read(token)
    assert share.files is False
    assert abs(share.expires_at - time.time() - sharing.USUAL_SECONDS) < 60


def test_only_the_owner_makes_links(
    page: Client, new_user: Callable[..., User], browse: Callable[[User], Client]
) -> None:
    (task,) = submit(new_user("bob"))
    for client in (page, browse(new_user("boss", is_staff=True, is_superuser=True))):
        for answer in (
            client.get(f"/tasks/{task.pk}/share/"),
            client.post(f"/tasks/{task.pk}/share/"),
        ):
            assert answer.status_code == 404
    assert Client().post(f"/tasks/{task.pk}/share/").status_code == 302
    assert not AuditEntry.objects.filter(action="share_task").exists()


def test_the_form_is_protected_from_other_sites(ann: User) -> None:
    (task,) = submit(ann)
    client = Client(enforce_csrf_checks=True)
    client.force_login(ann)
    assert client.post(f"/tasks/{task.pk}/share/").status_code == 403
    assert not AuditEntry.objects.filter(action="share_task").exists()


@pytest.mark.parametrize("path", ["/shared/", "/shared"])
def test_the_page_of_a_link_is_for_everybody(path: str, db: None) -> None:
    client = Client(headers={"accept-language": "en"})
    answer = client.get(path)
    assert answer.status_code == 200
    assert not answer.cookies
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "noindex" in answer.headers["X-Robots-Tag"]
    assert "Cookie" not in answer.headers.get("Vary", "")
    assert "<noscript>" in answer.text
    assert 'src="/api/shared/"' in answer.text
    assert client.post(path).status_code == 405


def test_the_page_is_the_same_for_who_has_signed_in(
    page: Client, ann: User, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(0):
        answer = page.get("/shared/")
    assert "ann" not in answer.text.split("<main")[1]
    assert answer.text == Client(headers={"accept-language": "en"}).get("/shared/").text


def test_staff_see_who_has_shared_what(
    ann: User, page: Client, new_user: Callable[..., User], browse: Callable[[User], Client]
) -> None:
    (task,) = submit(ann)
    page.post(f"/tasks/{task.pk}/share/")
    audit = browse(new_user("boss", is_staff=True)).get("/staff/audit/")
    assert "made a link to the task" in audit.text
    assert tokens(audit) == set()
