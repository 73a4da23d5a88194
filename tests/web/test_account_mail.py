"""Pages: registration by invitation and closed, resets, the e-mail address."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from taskyard.accounts import invitations
from taskyard.accounts.models import User
from tests.configured import configure
from tests.live_system import Live
from tests.mails import code_in, configure_mail, sent
from tests.web.browser import PASSWORD, Person
from tests.web.test_browser import browser, new_person

__all__ = ["browser", "new_person"]
NEW = "another-one-1"
ADDRESS = "ann@example.org"


@pytest.fixture
def client() -> Client:
    return Client(headers={"accept-language": "en"})


@pytest.fixture
def mail(settings: Any) -> None:
    configure_mail(settings)


def about(page: Any, field: str) -> str:
    """The text at a field."""
    return str(page.text.split(f'id="{field}-about"')[1].split("</div>")[0])


def test_the_page_of_open_registration_asks_for_no_code(client: Client, db: None) -> None:
    page = client.get("/register/")
    assert "invitation" not in page.text
    assert 'href="/register/"' in client.get("/sign-in/").text


def test_closed_registration_has_no_form(client: Client, db: None, settings: Any) -> None:
    configure(settings, REGISTRATION="closed")
    for page in (client.get("/register/"), client.post("/register/", {"username": "a"})):
        assert page.status_code == 403
        assert "Registration is closed" in page.text
        assert 'name="password"' not in page.text
    assert "/register/" not in client.get("/sign-in/").text
    assert not User.objects.exists()


def test_the_code_of_an_invitation_is_a_field(client: Client, db: None, settings: Any) -> None:
    configure(settings, REGISTRATION="invite")
    page = client.get("/register/")
    assert 'name="invitation"' in page.text
    assert "data-from-link" in page.text
    fields = {"username": "newuser", "password": PASSWORD}
    refused = client.post("/register/", fields)
    assert refused.status_code == 400
    assert "required" in about(refused, "invitation")
    refused = client.post("/register/", {**fields, "invitation": "x" * 43})
    assert "no longer valid" in about(refused, "invitation")
    code = invitations.make().code
    refused = client.post("/register/", {**fields, "username": "a b", "invitation": code})
    # The code stays in its field, which is hidden while nothing is wrong with it.
    assert f'value="{code}"' in refused.text
    assert '<div class="field" hidden>' in refused.text
    answer = client.post("/register/", {**fields, "invitation": code})
    assert (answer.status_code, answer.url) == (302, "/tasks/")


def test_without_mail_the_page_says_whom_to_ask(client: Client, db: None) -> None:
    assert "/password/reset/" in client.get("/sign-in/").text
    for address in ("/password/reset/", "/password/reset/confirm/"):
        for page in (client.get(address), client.post(address)):
            assert page.status_code == 403
            assert "Ask the operator" in page.text
            assert 'method="post" class="stack"' not in page.text


@pytest.mark.django_db(transaction=True)
def test_from_an_address_to_a_new_password(client: Client, mail: None, db: None) -> None:
    client.post("/register/", {"username": "ann", "password": PASSWORD})
    page = client.get("/email/")
    assert "not confirmed" not in page.text
    page = client.post("/email/", {"email": ADDRESS}, follow=True)
    assert "Follow the link in the mail" in page.text
    assert "not confirmed" in page.text
    fields = {"code": code_in(sent()[0].body), "password": PASSWORD}
    wrong = client.post("/email/confirm/", {**fields, "password": "wrong"})
    assert (wrong.status_code, "not right" in about(wrong, "password")) == (400, True)
    assert client.post("/email/confirm/", fields).url == "/email/"
    page = client.get("/email/")
    assert '<span class="state completed">confirmed</span>' in page.text
    client.post("/sign-out/")

    page = client.post("/password/reset/", {"email": ADDRESS})
    assert (page.status_code, "a link is on its way" in page.text) == (200, True)
    unknown = client.post("/password/reset/", {"email": "unknown@example.org"})
    assert without_tokens(unknown) == without_tokens(page)
    fields = {"code": code_in(sent()[1].body), "new_password": "1"}
    weak = client.post("/password/reset/confirm/", fields)
    assert (weak.status_code, "too short" in about(weak, "new_password")) == (400, True)
    changed = client.post("/password/reset/confirm/", {**fields, "new_password": NEW}, follow=True)
    assert "Sign in with it." in changed.text
    again = client.post("/password/reset/confirm/", {**fields, "new_password": NEW})
    assert (again.status_code, "no longer valid" in about(again, "code")) == (400, True)
    assert client.post("/sign-in/", {"username": "ann", "password": NEW}).status_code == 302


def without_tokens(page: Any) -> str:
    """A page without its CSRF tokens."""
    return "".join(line for line in page.text.splitlines() if "csrfmiddlewaretoken" not in line)


def test_too_many_mails_are_refused_on_the_page(
    client: Client, mail: None, db: None, settings: Any
) -> None:
    configure(settings, EMAIL_RATE="1/hour", TRUSTED_PROXIES=1)
    headers = {"X-Forwarded-For": "192.0.2.201"}
    fields = {"email": "page@throttled.example"}
    statuses = [client.post("/password/reset/", fields, headers=headers) for _ in range(2)]
    assert [page.status_code for page in statuses] == [200, 429]
    assert int(statuses[1].headers["Retry-After"]) > 0
    assert 'value="page@throttled.example"' in statuses[1].text


def test_a_wrong_address_stands_at_its_field(page: Client, mail: None, ann: User) -> None:
    refused = page.post("/email/", {"email": "x"})
    assert refused.status_code == 400
    assert "valid email" in about(refused, "email")
    ann.refresh_from_db()
    assert ann.email == ""


def test_without_mail_the_address_is_only_stored(page: Client, ann: User) -> None:
    assert "only stored" in page.get("/email/").text
    assert page.post("/email/", {"email": ADDRESS}).status_code == 302
    ann.refresh_from_db()
    assert ann.email == ADDRESS


def test_no_page_with_a_code_is_kept(client: Client, mail: None, db: None) -> None:
    for address in ("/password/reset/confirm/", "/email/confirm/", "/register/"):
        page = client.get(address)
        assert "no-store" in page.headers["Cache-Control"]
        assert page.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.servers
def test_a_link_with_a_code_in_a_browser(
    new_live: Callable[..., Live], new_person: Callable[..., Person]
) -> None:
    """The script takes the code out of the address, so that history and server never have it."""
    live = new_live(TASKYARD_REGISTRATION="invite")
    link = live.command("invite").strip()
    code = link.partition("#")[2]
    person = new_person(live)
    asked: list[str] = []
    person.page.on("request", lambda request: asked.append(f"{request.url} {request.headers}"))
    person.page.goto(link)
    person.page.wait_for_url(f"{live.url}/register/")
    assert person.page.input_value("#invitation") == code
    assert not person.page.is_visible("#invitation")
    person.page.fill("#username", person.name)
    person.page.fill("#password", PASSWORD)
    person.page.click("main button.primary")
    person.page.wait_for_url(f"{live.url}/tasks/")
    # Playwright names the whole address that a page was opened with, and sends it without the #.
    assert [text for text in asked[1:] if code in text] == []
    # The link to the content of the page is no code.
    person.page.goto("/register/#main")
    assert code not in live.log.read_text()
