"""Texts of users are shown as text in every place."""

import html
import secrets

import httpx
import pytest

from tests.contract.client import User
from tests.hostile.attack import Attack

pytestmark = pytest.mark.servers


def test_markup_in_every_stored_text(attack: Attack) -> None:
    """<img onerror> in every stored text: JSON and nosniff, escaped in the admin"""
    user = attack.user()
    markup = f"<img src=x onerror=alert('{secrets.token_hex(4)}')>"
    profile = {"first_name": markup, "last_name": markup, "email": f'"{markup}"@example.org'}
    attack.send("PATCH", "/api/me/", {200, 400}, body=profile, user=user)
    del profile["email"]
    attack.send("PATCH", "/api/me/", 200, body=profile, user=user)
    assert attack.get("/api/me/", 200, user=user).json()["first_name"] == markup
    tasks = []
    for task_type, input_data in (
        ("repeats", {"text": markup, "notes": {markup: markup}}),
        ("refuses", {"text": markup}),
        ("breaks", {"text": markup}),
    ):
        body = {"task_type": task_type, "input_data": input_data, "tags": [markup[:50]]}
        key = {"Idempotency-Key": markup}
        body["delay"] = 0
        answer = attack.post("/api/tasks/create/", body, {201, 422}, user=user, headers=key)
        if answer.status_code == 422:
            answer = attack.post("/api/tasks/create/", body, 201, user=user)
        tasks.append(user.wait(answer.json()["id"]))
    said, refused, broken = tasks
    assert said["result"] == {"text": markup, "notes": {markup: markup}}
    assert said["progress"]["message"] == markup
    assert refused["error"]["message"] == markup
    assert markup in broken["error"]["message"]
    attack.settled(user)
    for task in tasks:
        for verb in ("", "attempts/", "logs/"):
            attack.get(f"/api/tasks/{task['id']}/{verb}", 200, user=user)
    assert markup in attack.get(f"/api/tasks/{said['id']}/logs/", 200, user=user).text
    assert _admin_shows(attack, user, said["id"], markup)


def _admin_shows(attack: Attack, user: User, task_id: int, markup: str) -> bool:
    """Whether the admin shows the text, and only ever escaped."""
    statement = (
        "UPDATE taskyard_accounts_user SET is_staff = true, is_superuser = true WHERE username = "
    )
    attack.books.execute(f"{statement}'{user.name}'")
    shown = 0
    with httpx.Client(base_url=attack.live.url, follow_redirects=True, timeout=30) as browser:
        browser.get("/admin/login/")
        form = {
            "username": user.name,
            "password": "password123",
            "next": "/admin/",
            "csrfmiddlewaretoken": browser.cookies["csrftoken"],
        }
        attack.keep_secret(browser.cookies["csrftoken"])
        assert browser.post("/admin/login/", data=form).status_code == 200
        attack.keep_secret(browser.cookies["sessionid"])
        for path in (
            *("/admin/", "/admin/taskyard/task/", f"/admin/taskyard/task/{task_id}/change/"),
            *("/admin/taskyard_accounts/user/", f"/admin/taskyard_accounts/user/?q={markup}"),
            *(
                "/admin/taskyard/task/?q=%00",
                "/admin/taskyard_accounts/user/?q=%00",
                "/admin/taskyard_accounts/user/%00/",
            ),
            *(
                "/admin/taskyard/task/?o=x",
                "/admin/taskyard/task/?p=x",
                "/admin/taskyard/task/?x=%00",
            ),
            *("/admin/taskyard/task/?status__exact=%00", f"/admin/taskyard/task/{10**20}/change/"),
            *(
                "/admin/taskyard/task/?owner__password__startswith=a",
                "/admin/taskyard/task/_00/change/",
            ),
        ):
            answer = browser.get(path)
            attack.sent += 1
            attack.statuses.add(answer.status_code)
            assert answer.status_code < 500, path
            assert markup not in answer.text, path
            assert answer.headers["content-security-policy"].startswith("default-src 'self'")
            shown += html.escape(markup) in answer.text
    attack.note(f"escaped on {shown} pages of the admin")
    return shown > 0
