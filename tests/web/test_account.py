"""Register, sign in and out, change the password, the language and the theme."""

import secrets
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from taskyard.accounts import passwords
from taskyard.accounts.models import User
from taskyard.core import cleanup
from taskyard.core.models import Quota
from tests.configured import configure

PASSWORD = "password123"
ENGLISH = {"accept-language": "en"}


@pytest.fixture
def registered(db: None) -> User:
    return passwords.register(username="newuser", password=PASSWORD, address="127.0.0.1")


@pytest.fixture
def client() -> Client:
    return Client(headers=ENGLISH)


def sign_in(client: Client, password: str = PASSWORD, **more: str) -> Any:
    return client.post("/sign-in/", {"username": "newuser", "password": password, **more})


@pytest.mark.django_db
def test_a_newcomer_registers_and_is_signed_in_with_a_quota(client: Client) -> None:
    answer = client.post("/register/", {"username": "newuser", "password": PASSWORD})
    assert (answer.status_code, answer.url) == (302, "/tasks/")
    assert "0 of 5" in client.get("/tasks/").text
    assert Quota.objects.get(user=User.objects.get()).active == 0


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("username", "password", "field", "text"),
    [
        ("a b", PASSWORD, "username", "valid username"),
        ("", PASSWORD, "username", "valid username"),
        ("a\0b", PASSWORD, "username", "Null characters"),
        ("newuser", "1", "password", "too short"),
        ("newuser", "x" * 129, "password", "At most 128"),
        ("newuser", "12345678901", "password", "numeric"),
    ],
)
def test_what_is_refused_stands_at_its_field(
    client: Client, username: str, password: str, field: str, text: str
) -> None:
    answer = client.post("/register/", {"username": username, "password": password})
    assert answer.status_code == 400
    about = answer.text.split(f'id="{field}-about"')[1].split("</div>")[0]
    assert text in about
    assert password not in answer.text.replace('type="password"', "") or len(password) == 1
    assert not User.objects.exists()


def test_a_taken_name_is_said_at_the_name(client: Client, registered: User) -> None:
    answer = client.post("/register/", {"username": "NewUser", "password": PASSWORD})
    assert answer.status_code == 400
    assert "already taken" in answer.text.split('id="username-about"')[1].split("</div>")[0]


def test_signing_in_goes_on_where_one_was_going(client: Client, registered: User) -> None:
    asked = client.get("/tasks/new/")
    assert asked.url == "/sign-in/?next=/tasks/new/"
    assert sign_in(client, next="/tasks/new/").url == "/tasks/new/"


@pytest.mark.parametrize("address", ["//evil.example/", "https://evil.example/", "javascript:1"])
def test_signing_in_leads_nowhere_else(client: Client, registered: User, address: str) -> None:
    assert sign_in(client, next=address).url == "/tasks/"


@pytest.mark.parametrize("password", ["wrong", "", "x" * 129, "nul\0"])
def test_a_wrong_password_is_a_refusal_that_names_nothing(
    client: Client, registered: User, password: str
) -> None:
    answer = sign_in(client, password)
    assert answer.status_code == 400
    assert "_auth_user_id" not in client.session


def test_too_many_wrong_passwords_are_throttled_as_in_the_api(
    registered: User, settings: Any
) -> None:
    # From an address that no other test counts for.
    client = Client(REMOTE_ADDR=f"2001:db8:{secrets.token_hex(2)}::1")
    configure(settings, LOGIN_RATE="2/min")
    for _ in range(2):
        assert sign_in(client, "wrong").status_code == 400
    answer = sign_in(client)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0


def test_a_form_without_its_token_is_refused(registered: User) -> None:
    answer = sign_in(Client(enforce_csrf_checks=True))
    assert answer.status_code == 403


def test_signing_out_ends_the_session(client: Client, registered: User) -> None:
    sign_in(client)
    assert client.get("/sign-out/").status_code == 405
    client.post("/sign-out/")
    assert client.get("/tasks/").status_code == 302


def test_a_new_password_ends_the_other_sessions(client: Client, registered: User) -> None:
    elsewhere = Client()
    sign_in(client)
    sign_in(elsewhere)
    wrong = client.post("/password/", {"old_password": "no", "new_password": "another-one-1"})
    assert wrong.status_code == 400
    assert "old password" in wrong.text.split('id="old_password-about"')[1].split("</div>")[0]
    right = client.post("/password/", {"old_password": PASSWORD, "new_password": "another-one-1"})
    assert right.status_code == 302
    assert client.get("/tasks/").status_code == 200
    assert elsewhere.get("/tasks/").status_code == 302


def test_the_language_is_chosen(registered: User) -> None:
    client = Client()
    assert "Войти" in client.get("/sign-in/").text
    client.post("/language/", {"language": "en", "next": "/sign-in/"})
    assert "Sign in" in client.get("/sign-in/").text


@pytest.mark.django_db
def test_the_colours_are_chosen(client: Client) -> None:
    client.post("/theme/", {"theme": "dark", "next": "/sign-in/"})
    assert 'data-theme="dark"' in client.get("/sign-in/").text
    client.post("/theme/", {"theme": '"><img src=x>', "next": "/sign-in/"})
    assert 'data-theme="auto"' in client.get("/sign-in/").text


@pytest.mark.django_db
def test_no_page_has_a_script_or_a_style_within(client: Client) -> None:
    page = client.get("/sign-in/")
    assert "style=" not in page.text
    assert "<style" not in page.text
    assert page.text.count("<script") == page.text.count('<script src="/static/')
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert settings.LANGUAGE_CODE == "ru"


def test_sessions_past_their_time_are_forgotten(client: Client, registered: User) -> None:
    sign_in(client)
    sign_in(Client())
    Session.objects.filter(session_key=client.session.session_key).update(
        expire_date=timezone.now() - timedelta(seconds=1)
    )
    cleanup.run()
    assert Session.objects.count() == 1
    assert client.get("/tasks/").status_code == 302


@pytest.mark.parametrize("address", ["foo", "//evil.example/", "https://evil.example/", ""])
def test_only_an_address_of_ours_is_gone_on_to(
    client: Client, registered: User, address: str
) -> None:
    assert sign_in(client, next=address).headers["Location"] == "/tasks/"
    assert client.get("/sign-in/", {"next": address}).headers["Location"] == "/tasks/"


def test_what_was_posted_without_a_session_is_not_asked_for_later(client: Client) -> None:
    answer = client.post("/tasks/1/cancel/")
    assert answer.headers["Location"] == "/sign-in/?next=/tasks/"
