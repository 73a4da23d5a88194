"""The page of the API keys."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from taskyard.accounts import keys
from taskyard.accounts.models import ApiKey, User
from tests.api_client import ApiClient

pytestmark = pytest.mark.django_db
FORM = {"name": "ci", "scopes": ["tasks:read", "files"], "expires": "90"}
SHOWN = re.compile(r'<pre id="new-key"[^>]*>(ty_[a-z0-9]{8}_[0-9a-f]{64})</pre>')


def made(page: Client, **changes: Any) -> str:
    answer = page.post("/keys/", {**FORM, **changes})
    assert answer.status_code == 200
    return str(SHOWN.findall(answer.text)[0])


def test_a_key_is_made_shown_once_and_works(page: Client, ann: User) -> None:
    text = made(page)
    answer = page.get("/keys/")
    assert text not in answer.text
    key = ApiKey.objects.get()
    assert f"ty_{key.prefix}_" in answer.text
    assert (key.name, key.scopes, key.task_types) == ("ci", ["tasks:read", "files"], None)
    assert key.expires_at is not None
    assert timedelta(days=89) < key.expires_at - timezone.now() <= timedelta(days=90)
    client = ApiClient(Client(), text)
    assert client.get("tasks/").status_code == 200
    assert client.create().status_code == 403


def test_the_page_with_the_key_is_for_no_cache(page: Client) -> None:
    answer = page.post("/keys/", FORM)
    assert "no-store" in answer.headers["Cache-Control"]


def test_task_types_and_a_key_for_ever(page: Client) -> None:
    made(page, task_types=["sum"], expires="")
    key = ApiKey.objects.get()
    assert (key.task_types, key.expires_at) == (["sum"], None)
    assert "(sum)" in page.get("/keys/").text


@pytest.mark.parametrize(
    ("changes", "place", "text"),
    [
        ({"name": ""}, "name", "At least 1 characters"),
        ({"name": "a\0b"}, "name", "Null characters"),
        ({"name": "x" * 101}, "name", "At most 100"),
        ({"scopes": []}, "scopes", "At least 1 items"),
        ({"scopes": ["admin"]}, "scopes", "One of these is expected"),
        ({"task_types": ["nope"]}, "types", "no such task type"),
        ({"expires": "soon"}, "expires", "A date and time"),
        ({"expires": "2001-01-01T00:00:00Z"}, "expires", "in the future"),
    ],
)
def test_what_is_refused_stands_at_its_field(
    page: Client, changes: dict[str, Any], place: str, text: str
) -> None:
    answer = page.post("/keys/", {**FORM, **changes})
    assert answer.status_code == 400
    about = answer.text.split(f'id="{place}-about"')[1].split("</div>")[0]
    assert text in about
    assert not ApiKey.objects.exists()


def test_what_was_typed_stays(page: Client) -> None:
    answer = page.post("/keys/", {**FORM, "name": '<b>"', "scopes": ["files"], "expires": "x"})
    assert "&lt;b&gt;" in answer.text
    assert '<b>"' not in answer.text
    assert re.search(r'value="files" checked', answer.text)
    assert not re.search(r'value="tasks:read" checked', answer.text)


def test_there_are_at_most_100(page: Client, ann: User) -> None:
    ApiKey.objects.bulk_create(
        ApiKey(user=ann, name="x", prefix=f"{n:08}", digest=f"{n:064}", scopes=["files"])
        for n in range(keys.MOST_KEYS)
    )
    answer = page.post("/keys/", FORM)
    assert answer.status_code == 409
    assert "as many as allowed" in answer.text


def test_a_key_is_revoked(page: Client, ann: User, new_user: Any, browse: Any) -> None:
    text = made(page)
    key = ApiKey.objects.get()
    other = browse(new_user("other"))
    assert "No keys yet" in other.get("/keys/").text
    for client, key_id in ((other, key.pk), (page, 2**62), (page, 2**70)):
        assert client.post(f"/keys/{key_id}/revoke/").status_code == 404
    assert page.get(f"/keys/{key.pk}/revoke/").status_code == 405
    answer = page.post(f"/keys/{key.pk}/revoke/", follow=True)
    assert "has been revoked" in answer.text
    assert "No keys yet" in answer.text
    assert ApiClient(Client(), text).get("tasks/").status_code == 401


def test_an_expired_key_is_marked(page: Client) -> None:
    made(page)
    ApiKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert "expired" in page.get("/keys/").text


def test_the_menu_leads_there_and_strangers_are_sent_to_sign_in(page: Client) -> None:
    assert 'href="/keys/"' in page.get("/tasks/").text
    assert Client().get("/keys/").headers["Location"] == "/sign-in/?next=/keys/"
    assert Client(enforce_csrf_checks=True).post("/keys/", FORM).status_code == 403
