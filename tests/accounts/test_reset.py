"""Reset a forgotten password by the link in a mail."""

import io
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from taskyard.accounts import outbox, tokens
from taskyard.accounts.models import ConfirmedEmail, User
from taskyard.server import account_commands
from tests.api_client import ApiClient
from tests.configured import configure
from tests.mails import PUBLIC_URL, code_in, configure_mail, link_in, mail_server, sent
from tests.servers import free_port

pytestmark = pytest.mark.django_db(transaction=True)
OLD, NEW = "correct horse battery", "another good password"
ADDRESS = "ann@example.org"


@pytest.fixture
def mail(settings: Any) -> None:
    configure_mail(settings)


@pytest.fixture
def person(new_user: Callable[..., User]) -> User:
    """A user with a password and a confirmed address."""
    user = new_user("ann", email=ADDRESS)
    user.set_password(OLD)
    user.save()
    confirm_address(user)
    return user


def confirm_address(user: User) -> None:
    key = user.email.lower()
    ConfirmedEmail.objects.create(user=user, email=user.email, email_key=key)


def ask(nobody: ApiClient, email: str, **headers: str) -> Any:
    return nobody.post("password/reset/", {"email": email}, **headers)


def reset(nobody: ApiClient, token: str, new: str = NEW) -> Any:
    return nobody.post("password/reset/confirm/", {"token": token, "new_password": new})


def log_in(nobody: ApiClient, password: str, username: str = "ann") -> int:
    return int(nobody.post("token/", {"username": username, "password": password}).status_code)


def token_for(nobody: ApiClient, email: str = ADDRESS) -> str:
    before = len(sent())
    assert ask(nobody, email).status_code == 202
    (message,) = sent()[before:]
    return code_in(message.body)


def test_a_forgotten_password_is_reset(nobody: ApiClient, mail: None, person: User) -> None:
    old_token = ApiClient(Client(), tokens.issue(person).access)
    page = Client()
    page.force_login(person)
    token = token_for(nobody)
    answer = reset(nobody, token)
    assert (answer.status_code, answer.content) == (204, b"")
    assert (log_in(nobody, OLD), log_in(nobody, NEW)) == (401, 200)
    assert old_token.get("me/").status_code == 401
    assert page.get("/tasks/").status_code == 302


def test_the_mail_has_its_link_and_no_reply(nobody: ApiClient, mail: None, person: User) -> None:
    ask(nobody, ADDRESS, Accept_Language="en")
    (message,) = sent()
    assert message.to == [ADDRESS]
    assert message.subject == "Taskyard: a new password"
    assert link_in(message.body).startswith(f"{PUBLIC_URL}/password/reset/confirm/#{person.pk}.")
    assert message.extra_headers["Auto-Submitted"] == "auto-generated"
    ask(nobody, ADDRESS, Accept_Language="ru")
    assert "пароль" in sent()[1].subject


def test_a_token_works_once(nobody: ApiClient, mail: None, person: User) -> None:
    token = token_for(nobody)
    another = token_for(nobody)
    assert reset(nobody, token).status_code == 204
    for used in (token, another):
        refused = reset(nobody, used, "a third good password")
        assert (refused.status_code, list(refused.json())) == (400, ["token"])
    assert log_in(nobody, NEW) == 200


def test_of_many_resets_at_the_same_moment_one_works(
    nobody: ApiClient, mail: None, person: User
) -> None:
    token = token_for(nobody)

    def attempt(number: int) -> int:
        try:
            return int(reset(nobody, token, f"a good password {number}").status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(attempt, range(4)))
    assert sorted(statuses) == [204, 400, 400, 400]
    assert log_in(nobody, f"a good password {statuses.index(204)}") == 200
    connection.close()


def test_a_token_lives_an_hour(nobody: ApiClient, mail: None, person: User, settings: Any) -> None:
    assert django_settings.PASSWORD_RESET_TIMEOUT == 3600
    token = token_for(nobody)
    settings.PASSWORD_RESET_TIMEOUT = -1
    assert reset(nobody, token).status_code == 400
    settings.PASSWORD_RESET_TIMEOUT = 3600
    assert reset(nobody, token).status_code == 204


@pytest.mark.parametrize(
    "change",
    [{"password": "another hash"}, {"email": "other@example.org"}, {"is_active": False}],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_user_ends_a_token(
    nobody: ApiClient, mail: None, person: User, change: dict[str, Any]
) -> None:
    token = token_for(nobody)
    User.objects.filter(pk=person.pk).update(**change)
    assert reset(nobody, token).status_code == 400


def test_a_weak_password_is_refused_at_its_place_and_the_token_stays(
    nobody: ApiClient, mail: None, person: User
) -> None:
    token = token_for(nobody)
    for weak in ("1", "12345678901", "ann@example.org", "x" * 129):
        refused = reset(nobody, token, weak)
        assert (refused.status_code, list(refused.json())) == (400, ["new_password"])
    assert reset(nobody, token).status_code == 204


def test_every_token_that_is_not_valid_gets_the_same_answer(
    nobody: ApiClient, mail: None, person: User, new_user: Callable[..., User]
) -> None:
    token = token_for(nobody)
    other = new_user("other")
    strange = ("x", ".", "1", "1.", f"{person.pk}.x-y", f"{2**70}.a-b", f"１.{token}", "x" * 3000)
    forged = (token[:-1] + ("0" if token[-1] != "0" else "1"), token.replace(".", ".x"))
    of_others = (f"{other.pk}.{token.partition('.')[2]}", f"987654.{token.partition('.')[2]}")
    answers = set()
    for code in ("", *strange, *forged, *of_others):
        refused = reset(nobody, code)
        answers.add((refused.status_code, refused.content))
    assert len(answers) == 1
    assert answers.pop()[0] == 400


def test_the_answer_does_not_say_whether_there_is_such_a_user(
    nobody: ApiClient, mail: None, person: User, new_user: Callable[..., User]
) -> None:
    """The same bytes, and no query at all: only the thread that sends looks the address up."""
    new_user("unconfirmed", email="unconfirmed@example.org")
    suspended = new_user("suspended", email="suspended@example.org", is_active=False)
    without = new_user("without-password", email="without@example.org")
    for user in (suspended, without):
        confirm_address(user)
    moved = new_user("moved", email="moved@example.org")
    confirm_address(moved)
    User.objects.filter(pk=moved.pk).update(email="elsewhere@example.org")
    names = ("unconfirmed", "suspended", "without", "moved", "elsewhere", "unknown")
    answers = set()
    for email in (ADDRESS, *(f"{name}@example.org" for name in names)):
        with CaptureQueriesContext(connection) as queries:
            answer = ask(nobody, email)
        assert len(queries) == 0
        answers.add((answer.status_code, answer.content))
    assert answers == {(202, b"{}")}
    assert [message.to for message in sent()] == [[ADDRESS]]


def test_an_address_in_another_spelling_reaches_the_confirmed_one(
    nobody: ApiClient, mail: None, person: User
) -> None:
    ask(nobody, "ANN@Example.ORG")
    assert [message.to for message in sent()] == [[ADDRESS]]


def test_an_address_that_only_looks_the_same_gets_no_link_of_another(
    nobody: ApiClient, mail: None, new_user: Callable[..., User]
) -> None:
    """The Kelvin sign is a k in lower case."""
    for name, email in (("mike", "mike@example.org"), ("thief", "mi\u212ae@example.org")):
        user = new_user(name, email=email)
        user.set_password(OLD)
        user.save()
        confirm_address(user)
    ask(nobody, "mike@example.org")
    named = {message.to[0]: "mike:" in message.body for message in sent()}
    assert named == {"mike@example.org": True, "mi\u212ae@example.org": False}


def test_one_mail_names_each_user_of_an_address(
    nobody: ApiClient, mail: None, person: User, new_user: Callable[..., User]
) -> None:
    second = new_user("second", email=ADDRESS)
    second.set_password(OLD)
    second.save()
    confirm_address(second)
    ask(nobody, ADDRESS)
    (message,) = sent()
    assert message.body.count(PUBLIC_URL) == 2
    assert "ann:" in message.body
    assert "second:" in message.body


def test_the_link_does_not_follow_the_host_of_the_request(
    nobody: ApiClient, mail: None, person: User, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    for headers in ({"Host": "evil.example"}, {"X_Forwarded_Host": "evil.example"}):
        assert ask(nobody, ADDRESS, **headers).status_code == 202
    for message in sent():
        assert "evil" not in message.body
        assert link_in(message.body).startswith(PUBLIC_URL)


def test_requests_are_limited_by_recipient_and_by_client(
    nobody: ApiClient, mail: None, settings: Any, person: User
) -> None:
    configure(settings, EMAIL_RATE="2/hour", TRUSTED_PROXIES=1)

    def statuses(recipients: list[str], clients: list[str]) -> list[int]:
        pairs = zip(recipients, clients, strict=True)
        return [ask(nobody, email, X_Forwarded_For=client).status_code for email, client in pairs]

    clients = [f"198.51.100.{number}" for number in range(3)]
    # Also for an address that no user has.
    for recipient in ("ann@reset.example", "unknown@reset.example"):
        spellings = [recipient, recipient.upper(), recipient]
        assert statuses(spellings, clients) == [202, 202, 429]
        clients = [f"203.0.113.{number}" for number in range(3)]
    recipients = [f"{number}@reset.example" for number in range(3)]
    assert statuses(recipients, ["198.51.100.77"] * 3) == [202, 202, 429]


@pytest.mark.parametrize("email", ["", "x", "a@", "a b@c.de", "a\n@b.cd", "x" * 250 + "@b.cd"])
def test_what_is_no_address_is_refused_at_its_place(
    nobody: ApiClient, mail: None, email: str
) -> None:
    refused = ask(nobody, email)
    assert (refused.status_code, list(refused.json())) == (400, ["email"])


@pytest.mark.parametrize("missing", ["EMAIL_FROM", "PUBLIC_URL"])
def test_without_mail_the_addresses_say_so(
    nobody: ApiClient, mail: None, person: User, settings: Any, missing: str
) -> None:
    token = token_for(nobody)
    configure(settings, **{missing: None})
    for refused in (ask(nobody, ADDRESS), reset(nobody, token)):
        assert refused.status_code == 403
        assert refused.json()["code"] == "mail_not_configured"
    assert len(sent()) == 1


@pytest.fixture
def smtp(settings: Any) -> Iterator[Callable[[int], None]]:
    """Let Django send to this port, quickly tried again."""
    original = outbox.PAUSES_SECONDS

    def use(port: int) -> None:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_TIMEOUT = "127.0.0.1", port, 1
        outbox.PAUSES_SECONDS = (0.0, 0.05)

    yield use
    outbox.PAUSES_SECONDS = original


def test_a_real_mail_server_gets_the_mail(
    nobody: ApiClient, mail: None, person: User, smtp: Callable[[int], None]
) -> None:
    with mail_server() as server:
        smtp(server.port)
        ask(nobody, ADDRESS)
        (message,) = server.wait_for(1)
    assert message["To"] == ADDRESS
    assert message["From"] == "Taskyard <taskyard@example.org>"
    assert reset(nobody, code_in(message.get_content())).status_code == 204


def failures(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record for record in caplog.records if record.getMessage() == "mail not sent"]


def test_a_mail_server_that_is_away_is_logged_and_answered_as_always(
    nobody: ApiClient,
    mail: None,
    person: User,
    smtp: Callable[[int], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    smtp(free_port())
    answer = ask(nobody, ADDRESS)
    assert (answer.status_code, answer.content) == (202, b"{}")
    assert outbox.wait(20)
    assert [record.tries_left for record in failures(caplog)] == [1, 0]
    assert "refused" in failures(caplog)[0].why
    assert ADDRESS not in caplog.text
    assert all(record.levelno == logging.ERROR for record in failures(caplog))


def test_a_mail_server_that_hangs_holds_no_request(
    nobody: ApiClient, mail: None, person: User, smtp: Callable[[int], None]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        smtp(silent.getsockname()[1])
        ask(nobody, ADDRESS)
        start = time.perf_counter()
        for number in range(5):
            assert ask(nobody, f"{number}@example.org").status_code == 202
        assert time.perf_counter() - start < 1
        assert outbox.wait(20)


def test_a_refused_recipient_is_not_tried_again(
    nobody: ApiClient,
    mail: None,
    smtp: Callable[[int], None],
    new_user: Callable[..., User],
    caplog: pytest.LogCaptureFixture,
) -> None:
    user = new_user("lost", email="lost@nowhere.example")
    user.set_password(OLD)
    user.save()
    confirm_address(user)
    with mail_server() as server:
        smtp(server.port)
        ask(nobody, user.email)
        assert outbox.wait(20)
    assert [record.why for record in failures(caplog)] == ["SMTPRecipientsRefused 550"]
    assert user.email not in json.dumps([record.__dict__ for record in caplog.records], default=str)


def test_a_recipient_refused_for_now_is_tried_again(
    nobody: ApiClient,
    mail: None,
    smtp: Callable[[int], None],
    new_user: Callable[..., User],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As by greylisting."""
    user = new_user("late", email="late@later.example")
    user.set_password(OLD)
    user.save()
    confirm_address(user)
    with mail_server() as server:
        smtp(server.port)
        ask(nobody, user.email)
        assert len(server.wait_for(1)) == 1
    assert [record.why for record in failures(caplog)] == ["SMTPRecipientsRefused 451"]


def test_too_many_waiting_mails_are_refused(
    nobody: ApiClient, mail: None, person: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def hold() -> list[outbox.Mail]:
        assert released.wait(20)
        return []

    assert outbox.wait(20)
    monkeypatch.setattr(outbox._jobs, "maxsize", 1)
    outbox.put(hold)
    while not outbox._jobs.empty():  # until the thread has it
        time.sleep(0.01)
    outbox.put(hold)
    refused = ask(nobody, ADDRESS)
    released.set()
    assert outbox.wait(20)
    assert (refused.status_code, refused.json()["code"]) == (503, "mail_busy")
    assert int(refused.headers["Retry-After"]) > 0


def test_the_operator_sets_a_password_where_there_is_no_mail(
    nobody: ApiClient,
    person: User,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def change(name: str, typed: str) -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        return account_commands.change_password(name)

    old_token = ApiClient(Client(), tokens.issue(person).access)
    assert change("unknown", f"{NEW}\n") == 1
    assert change("ann", "1\n") == 1
    assert "too short" in capsys.readouterr().err
    assert log_in(nobody, OLD) == 200
    assert change("ANN", f"{NEW}\n") == 0
    assert NEW not in "".join(capsys.readouterr())
    assert (log_in(nobody, OLD), log_in(nobody, NEW)) == (401, 200)
    assert old_token.get("me/").status_code == 401
