"""Sign in by single sign-on in Chromium: a live Taskyard, and a certified provider.

What should happen in each row is documented in docs/how-to/single-sign-on.md.
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.live_system import Live
from tests.oidc.live import with_provider
from tests.oidc.provider import Provider, new_key
from tests.web.browser import Person, chromium

pytestmark = pytest.mark.servers
expect.set_options(timeout=30_000)


@dataclass
class Login:
    """A person, a browser, and the two systems."""

    live: Live
    provider: Provider
    person: Person
    subject: str = field(default_factory=lambda: f"person-{secrets.token_hex(4)}")

    def becomes(self, **claims: Any) -> None:
        """Change the person at the provider."""
        self.provider.people[self.subject] = {"preferred_username": self.subject, **claims}
        self.provider.save()

    def go(self) -> None:
        """Log in with the button on the log-in page."""
        page = self.person.page
        page.goto("/sign-in/?next=/tasks/new/")
        page.click("text=Sign in with Example")
        if page.url.startswith(self.provider.issuer):
            page.fill("input[name=login]", self.subject)
            page.fill("input[name=password]", "any")
            page.click("button[type=submit]")

    def is_in(self) -> None:
        self.person.page.wait_for_url("**/tasks/new/")
        expect(self.person.page.locator("header")).to_contain_text(self.subject)

    def is_refused(self, text: str) -> None:
        expect(self.person.page.locator("[role=alert]")).to_contain_text(text)

    def signs_out(self) -> None:
        self.person.page.context.clear_cookies()

    def is_staff(self) -> bool:
        answer = self.person.page.goto("/staff/")
        return answer is not None and answer.status == 200


def new_user(login: Login) -> None:
    login.becomes(groups=["taskyard-staff"])
    login.go()
    login.is_in()
    assert login.is_staff()


def known_user(login: Login) -> None:
    login.becomes()
    login.go()
    login.is_in()
    number = login.person.submit("sum", input_numbers="1")
    login.signs_out()
    login.go()
    login.is_in()
    login.person.page.goto(f"/tasks/{number}/")
    expect(login.person.page.locator("main")).to_contain_text("Sum of numbers")


def removed_group(login: Login) -> None:
    login.becomes(groups=["taskyard-staff"])
    login.go()
    login.is_in()
    assert login.is_staff()
    login.signs_out()
    login.becomes(groups=["others"])
    login.go()
    login.is_in()
    assert not login.is_staff()


def clock_ahead(login: Login) -> None:
    login.provider.skew = 30
    login.becomes()
    login.go()
    login.is_in()


def clock_behind(login: Login) -> None:
    # By our clock the ID token has expired twenty seconds ago.
    login.provider.skew, login.provider.seconds = -30, 10
    login.becomes()
    login.go()
    login.is_in()


def clock_too_far(login: Login) -> None:
    login.provider.skew = 90
    login.becomes()
    login.go()
    login.is_refused("is not valid")


def rotated_key(login: Login) -> None:
    login.becomes()
    login.go()
    login.is_in()
    login.signs_out()
    login.provider.key = new_key()
    login.provider.restart()
    login.go()
    login.is_in()


def provider_down(login: Login) -> None:
    login.becomes()
    login.person.page.goto("/sign-in/")
    login.provider.stop()
    # After ten seconds the kept metadata of the provider are too old.
    login.person.page.wait_for_timeout(10_000)
    login.person.page.click("text=Sign in with Example")
    login.is_refused("does not answer")
    login.provider.start()
    login.person.page.wait_for_timeout(1_000)
    login.person.page.click("a >> text=Try again")
    login.person.page.fill("input[name=login]", login.subject)
    login.person.page.fill("input[name=password]", "any")
    login.person.page.click("button[type=submit]")
    login.person.page.wait_for_url("**/tasks/")


CASES: list[tuple[Callable[[Login], None], str]] = [
    (new_user, "is made, signed in and staff by the group"),
    (known_user, "is signed in and sees the tasks of before"),
    (removed_group, "is no staff after the next sign-in"),
    (clock_ahead, "30 s ahead: signed in"),
    (clock_behind, "30 s behind, the token expired 20 s ago: signed in"),
    (clock_too_far, "90 s ahead: refused with a text"),
    (rotated_key, "the new key is fetched, signed in"),
    (provider_down, "503 with a text, and signed in when it is back"),
]


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Live, Provider]]:
    with with_provider(tmp_path_factory.mktemp("sso")) as systems:
        yield systems


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def login(systems: tuple[Live, Provider], browser: Browser) -> Iterator[Login]:
    live, provider = systems
    provider.skew, provider.seconds = 0, 600
    login = Login(live, provider, Person(browser, live.url))
    yield login
    login.person.close()
    assert login.person.complaints == []


@pytest.mark.parametrize(("case", "outcome"), CASES, ids=[case.__name__ for case, _ in CASES])
def test_signing_in(login: Login, case: Callable[[Login], None], outcome: str, figure: Any) -> None:
    case(login)
    figure(f"single sign-on, {case.__name__.replace('_', ' ')}", outcome)
