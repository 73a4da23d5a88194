"""The e-mail address of the profile is verified by the link in a mail."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core import signing
from django.core.signing import b62_encode
from django.db.models.signals import post_save
from django.test import Client

from taskyard.accounts import email_confirmation, outbox
from taskyard.accounts.models import ConfirmedEmail, User
from tests.api_client import ApiClient
from tests.configured import configure
from tests.mails import PUBLIC_URL, code_in, configure_mail, link_in, sent

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "correct horse battery"
ADDRESS = "ann@example.org"


@pytest.fixture
def mail(settings: Any) -> None:
    configure_mail(settings)


@pytest.fixture
def person(user: User) -> User:
    user.set_password(PASSWORD)
    user.save()
    return user


@pytest.fixture
def api(person: User, as_user: Any) -> ApiClient:
    client: ApiClient = as_user(person)
    return client


def confirm(code: str, password: str = PASSWORD, address: str = "127.0.0.1") -> Any:
    client = Client(headers={"accept-language": "en"}, REMOTE_ADDR=address)
    return client.post("/email/confirm/", {"code": code, "password": password})


def verified(api: ApiClient) -> bool:
    return bool(api.get("me/").json()["email_verified"])


def test_the_link_in_a_mail_verifies_the_address(api: ApiClient, mail: None) -> None:
    changed = api.patch("me/", {"email": ADDRESS}).json()
    assert (changed["email"], changed["email_verified"]) == (ADDRESS, False)
    (message,) = sent()
    assert message.to == [ADDRESS]
    assert message.from_email.endswith("<taskyard@example.org>")
    assert link_in(message.body).startswith(f"{PUBLIC_URL}/email/confirm/#")
    assert confirm(code_in(message.body)).status_code == 302
    assert verified(api)
    # The link may be followed twice.
    assert confirm(code_in(message.body)).status_code == 302


def test_a_stolen_token_verifies_no_address(api: ApiClient, mail: None) -> None:
    """A thief can set an address by the API, but the link asks for the password."""
    api.patch("me/", {"email": "thief@example.org"})
    (message,) = sent()
    for password in ("", "wrong", "x" * 1000):
        assert confirm(code_in(message.body), password).status_code == 400
    assert not verified(api)
    assert not ConfirmedEmail.objects.exists()


def test_the_password_at_the_link_cannot_be_guessed(
    api: ApiClient, mail: None, settings: Any
) -> None:
    api.patch("me/", {"email": ADDRESS})
    (message,) = sent()
    configure(settings, LOGIN_RATE="2/min")
    # An address that no other test counts for.
    address = f"2001:db8:{secrets.token_hex(2)}::1"
    code = code_in(message.body)
    statuses = [confirm(code, "wrong", address).status_code for _ in range(3)]
    assert statuses == [400, 400, 429]


def test_another_address_is_not_verified(api: ApiClient, mail: None, person: User) -> None:
    api.patch("me/", {"email": ADDRESS})
    first = code_in(sent()[0].body)
    confirm(first)
    assert verified(api)
    assert not api.patch("me/", {"email": "other@example.org"}).json()["email_verified"]
    assert confirm(first).status_code == 400
    assert not verified(api)
    # As any other way to change it, such as the admin.
    User.objects.filter(pk=person.pk).update(email=ADDRESS)
    assert verified(api)


def test_saving_an_address_again_sends_another_mail_until_it_is_verified(
    api: ApiClient, mail: None
) -> None:
    for _ in range(2):
        api.patch("me/", {"email": ADDRESS})
    assert len(sent()) == 2
    api.patch("me/", {"first_name": "Ann"})
    confirm(code_in(sent()[1].body))
    api.patch("me/", {"email": ADDRESS})
    api.patch("me/", {"email": ""})
    assert len(sent()) == 2
    assert not verified(api)


def test_without_mail_an_address_is_stored_as_before(api: ApiClient) -> None:
    changed = api.patch("me/", {"email": ADDRESS})
    assert (changed.status_code, changed.json()["email_verified"]) == (200, False)
    assert sent() == []


def test_mails_are_limited_by_recipient_and_by_client(
    api: ApiClient, mail: None, settings: Any, person: User
) -> None:
    configure(settings, EMAIL_RATE="2/hour", TRUSTED_PROXIES=1)

    def change(email: str, client: str) -> int:
        return int(api.patch("me/", {"email": email}, X_Forwarded_For=client).status_code)

    recipient, others = "ann@throttled.example", "192.0.2.{}"
    statuses = [change(recipient, others.format(number)) for number in range(3)]
    assert statuses == [200, 200, 429]
    statuses = [change(f"{number}@throttled.example", "192.0.2.77") for number in range(3)]
    assert statuses == [200, 200, 429]
    person.refresh_from_db()
    assert person.email == "1@throttled.example"
    assert len(sent()) == 4


class SignerOfThen(signing.TimestampSigner):
    """Signs as the product did before its codes' time was over."""

    def timestamp(self) -> str:
        return b62_encode(int(time.time()) - email_confirmation.VALID_SECONDS - 60)


def test_a_code_that_is_none_is_refused(api: ApiClient, mail: None, person: User) -> None:
    api.patch("me/", {"email": ADDRESS})
    good = code_in(sent()[0].body)
    forged = signing.dumps([person.pk, ADDRESS], salt="another salt")
    strange = [
        signing.dumps(value, salt=email_confirmation.SALT)
        for value in ([person.pk, ""], [-1, ADDRESS], [2**70, ADDRESS], ["1", ADDRESS], {}, [1])
    ]
    for code in ("", "x", good[:-1], f"{good}x", forged, *strange, "x" * 2000, "a\0b"):
        assert confirm(code).status_code == 400
    User.objects.update(is_active=False)
    assert confirm(good).status_code == 400
    User.objects.update(is_active=True)
    old = SignerOfThen(salt=email_confirmation.SALT).sign_object([person.pk, ADDRESS])
    assert confirm(old).status_code == 400
    assert not ConfirmedEmail.objects.exists()


@pytest.fixture
def fill_queue() -> Iterator[Callable[..., None]]:
    """Let as many mails wait as may; the first job lasts until the test is over."""
    is_held, is_over = threading.Event(), threading.Event()

    def hold() -> list[outbox.Mail]:
        is_held.set()
        assert is_over.wait(30)
        return []

    def fill(**_signal: Any) -> None:
        outbox.put(hold)
        assert is_held.wait(10)
        for _ in range(outbox.MOST_WAITING):
            outbox.put(list)

    yield fill
    is_over.set()
    assert outbox.wait(30)


def test_too_many_mails_are_a_503_and_nothing_is_saved(
    api: ApiClient, mail: None, person: User, fill_queue: Callable[..., None]
) -> None:
    fill_queue()
    refused = api.patch("me/", {"email": ADDRESS})
    assert (refused.status_code, refused.json()["code"]) == (503, "mail_busy")
    client = Client(raise_request_exception=False)
    client.force_login(person)
    assert client.post("/email/", {"email": ADDRESS}).status_code == 503
    person.refresh_from_db()
    assert person.email == ""
    assert api.patch("me/", {"first_name": "Ann"}).status_code == 200


def test_a_queue_that_fills_up_meanwhile_is_no_500(
    api: ApiClient, mail: None, fill_queue: Callable[..., None]
) -> None:
    post_save.connect(fill_queue, sender=User)
    try:
        changed = api.patch("me/", {"email": ADDRESS})
    finally:
        post_save.disconnect(fill_queue, sender=User)
    assert (changed.status_code, changed.json()["email"]) == (200, ADDRESS)


def test_who_has_no_password_to_confirm_with_gets_no_mail(
    api: ApiClient, mail: None, person: User, settings: Any
) -> None:
    settings.TASKYARD_PASSWORD_LOGIN = False
    assert api.patch("me/", {"email": ADDRESS}).status_code == 200
    del settings.TASKYARD_PASSWORD_LOGIN
    person.set_unusable_password()
    person.save()
    client = Client(headers={"accept-language": "en"})
    client.force_login(person)
    assert client.post("/email/", {"email": "other@example.org"}).status_code == 302
    assert "link" not in client.get("/email/").text.partition("<main")[2].partition("</main")[0]
    assert sent() == []
