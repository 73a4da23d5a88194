"""TASKYARD_EMAIL_URL becomes Django's settings; the whole way of mails in a live system."""

import re
from typing import Any

import django
import httpx
import pytest

from taskyard.server import mail_server
from tests import mails
from tests.live_system import Live

PASSWORD = "correct horse battery"


def options(url: str) -> dict[str, Any]:
    return mail_server._mailer(url)[1]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example.org", {"port": 587, "use_tls": True, "use_ssl": False}),
        ("smtp://mail.example.org:25", {"port": 25, "use_tls": True}),
        ("smtp://mail.example.org?starttls=off", {"port": 25, "use_tls": False}),
        ("smtps://mail.example.org", {"port": 465, "use_tls": False, "use_ssl": True}),
        ("smtp://127.0.0.1:1025", {"port": 1025, "use_tls": False}),
        ("smtp://localhost?starttls=on", {"port": 587, "use_tls": True}),
        ("smtp://a%40b:p%3A%2F@mail.example.org", {"username": "a@b", "password": "p:/"}),
        ("smtp://[::1]:25", {"host": "::1", "port": 25}),
        ("file:///srv/mails%20here", {"file_path": "/srv/mails here"}),
        ("console://", {}),
    ],
)
def test_an_address_is_read(url: str, expected: dict[str, Any]) -> None:
    found = options(url)
    assert {name: found[name] for name in expected} == expected
    assert mail_server.check(url) == url
    if "host" in found:
        assert found["timeout"] <= 10


def test_the_settings_are_those_of_this_django() -> None:
    given = mail_server.django_settings("smtp://u:p@mail.example.org")
    if django.VERSION >= (6, 1):
        assert given["MAILERS"]["default"]["OPTIONS"]["host"] == "mail.example.org"
    else:
        assert given["EMAIL_BACKEND"] == "django.core.mail.backends.smtp.EmailBackend"
        assert given["EMAIL_USE_TLS"] is True
        # Django has such settings.
        from django.conf import global_settings

        assert all(hasattr(global_settings, name) for name in given)


@pytest.mark.servers
def test_from_an_invitation_to_a_reset(new_live: Any) -> None:
    """A user is invited, confirms an address and resets the password; no log has a code."""
    with mails.mail_server() as server:
        live: Live = new_live(
            TASKYARD_REGISTRATION="invite",
            TASKYARD_EMAIL_URL=f"smtp://127.0.0.1:{server.port}",
            TASKYARD_EMAIL_FROM=mails.SENDER,
            TASKYARD_LOG_LEVEL="DEBUG",
        )
        codes = [PASSWORD, "another good password"]

        def link(text: str, path: str) -> str:
            found = mails.link_in(text)
            assert found.startswith(f"{live.url}{path}")
            assert httpx.get(found).status_code == 200
            codes.append(found.partition("#")[2])
            return codes[-1]

        invitation = live.command("invite", "--email", "ann@example.org").strip()
        code = link(server.wait_for(1)[0].get_content(), "/register/")
        assert invitation.endswith(code)
        user = {"username": "ann", "password": PASSWORD}
        api = httpx.Client(base_url=f"{live.url}/api/")
        assert api.post("register/", json=user).status_code == 400
        assert api.post("register/", json={**user, "invitation": code}).status_code == 201
        api.headers["Authorization"] = f"Bearer {api.post('token/', json=user).json()['access']}"
        assert api.patch("me/", json={"email": "ann@example.org"}).status_code == 200
        code = link(server.wait_for(2)[1].get_content(), "/email/confirm/")
        confirm_on_the_page(live, code)
        assert api.get("me/").json()["email_verified"] is True
        assert api.post("password/reset/", json={"email": "ann@example.org"}).status_code == 202
        code = link(server.wait_for(3)[2].get_content(), "/password/reset/confirm/")
        body = {"token": code, "new_password": codes[1]}
        assert api.post("password/reset/confirm/", json=body).status_code == 204
        assert api.get("me/").status_code == 401
        assert api.post("token/", json={**user, "password": codes[1]}).status_code == 200
        api.close()
        live.stop_web()
    log = live.log.read_text()
    assert "/api/password/reset/confirm/" in log
    assert [code for code in codes if code in log] == []


def confirm_on_the_page(live: Live, code: str) -> None:
    with httpx.Client(base_url=live.url) as page:
        form = page.get("/email/confirm/").text
        (token,) = set(re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', form))
        fields = {"csrfmiddlewaretoken": token, "code": code, "password": PASSWORD}
        headers = {"Referer": f"{live.url}/email/confirm/"}
        assert page.post("/email/confirm/", data=fields, headers=headers).status_code == 302
