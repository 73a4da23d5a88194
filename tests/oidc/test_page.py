"""Sign in on the page at a certified provider, without a browser: attacks included."""

import time
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.conf import settings as django_settings
from django.core import signing
from django.test import Client
from django.utils import timezone

from taskyard.accounts import tokens
from taskyard.accounts.models import OidcIdentity, User
from taskyard.accounts.oidc.sign_in import SALT
from tests.api_client import ApiClient
from tests.oidc.conftest import CALLBACK
from tests.oidc.provider import PAGE, Provider

pytestmark = pytest.mark.django_db
ENGLISH = {"accept-language": "en"}


@pytest.fixture
def client() -> Client:
    return Client(headers=ENGLISH)


@pytest.fixture
def ann(provider: Provider, subject: str) -> str:
    """The subject of a person at the provider."""
    provider.people = {
        subject: {"preferred_username": "ann", "email": "ann@example.org", "groups": []}
    }
    provider.save()
    return subject


def begin(client: Client, next_url: str = "") -> str:
    answer = client.get("/sso/", {"next": next_url} if next_url else {})
    assert answer.status_code == 302, answer.text
    return str(answer.headers["Location"])


def back(url: str) -> str:
    """The path and the query of a callback."""
    assert url.startswith(CALLBACK), url
    return url.removeprefix("http://testserver")


def sign_in(client: Client, provider: Provider, subject: str, next_url: str = "") -> Any:
    return client.get(back(provider.authorize(begin(client, next_url), subject)))


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def changed(url: str, **changes: str | None) -> str:
    """A callback with other parameters; None leaves one out."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    given = {**query, **changes}
    kept = {name: value for name, value in given.items() if value is not None}
    return f"{urlsplit(url).path}?{urlencode(kept)}"


def test_the_request_has_pkce_state_and_nonce(provider: Provider, client: Client) -> None:
    query = parse_qs(urlsplit(begin(client)).query)
    assert query["response_type"] == ["code"]
    assert query["code_challenge_method"] == ["S256"]
    assert query["client_id"] == [PAGE]
    assert query["redirect_uri"] == [CALLBACK]
    assert all(len(query[name][0]) >= 43 for name in ("state", "nonce", "code_challenge"))
    assert parse_qs(urlsplit(begin(client)).query)["state"] != query["state"]
    cookie = client.cookies["taskyard_sso"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/sso/")


def test_a_person_signs_in_and_comes_again(provider: Provider, client: Client, ann: str) -> None:
    answer = sign_in(client, provider, ann, "/tasks/new/")
    assert answer.headers["Location"] == "/tasks/new/"
    assert "ann" in client.get("/tasks/").text
    assert client.session.get_expiry_age() <= 3600
    user = User.objects.get()
    assert (user.username, user.email) == ("ann", "ann@example.org")
    assert OidcIdentity.objects.get().subject == ann
    client.post("/sign-out/")
    assert not is_signed_in(client)
    sign_in(client, provider, ann)
    assert is_signed_in(client)
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    "address", ["//evil.example/", "https://evil.example/", "javascript:1", "/\\evil.example"]
)
def test_a_sign_in_leads_nowhere_else(
    provider: Provider, client: Client, ann: str, address: str
) -> None:
    assert sign_in(client, provider, ann, address).headers["Location"] == "/tasks/"


def test_a_callback_counts_once(provider: Provider, client: Client, ann: str) -> None:
    first = begin(client)
    remembered = client.cookies["taskyard_sso"].value
    url = back(provider.authorize(first, ann))
    client.get(url)
    client.post("/sign-out/")
    # The same callback again, without and with the cookie of then: the code is used up.
    assert client.get(url).status_code == 400
    client.cookies["taskyard_sso"] = remembered
    answer = client.get(url)
    assert answer.status_code == 400
    assert "is not valid" in answer.text
    assert not is_signed_in(client)


def test_a_callback_in_another_browser_signs_no_user_in(
    provider: Provider, client: Client, ann: str
) -> None:
    url = back(provider.authorize(begin(client), ann))
    victim = Client(headers=ENGLISH)
    assert victim.get(url).status_code == 400
    begin(victim)
    answer = victim.get(url)
    assert answer.status_code == 400
    assert "begun in another window" in answer.text
    assert not is_signed_in(victim)
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"iss": "https://evil.example"}, 400),
        ({"iss": None}, 400),
        ({"code": "made-up"}, 400),
        ({"code": None}, 400),
        ({"state": "made-up"}, 400),
        ({"state": None}, 400),
        ({"error": "access_denied", "code": None}, 403),
        ({"error": "<script>alert(1)</script>", "code": None}, 403),
    ],
)
def test_an_altered_callback_signs_no_user_in(
    provider: Provider, client: Client, ann: str, changes: dict[str, Any], status: int
) -> None:
    url = back(provider.authorize(begin(client), ann))
    answer = client.get(changed(url, **changes))
    assert answer.status_code == status
    assert "<script>alert" not in answer.text
    assert not is_signed_in(client)
    # The cookie is gone: the right callback is too late.
    assert client.get(url).status_code == 400


@pytest.mark.parametrize("name", ["state", "code", "iss"])
def test_a_parameter_that_is_there_twice_is_refused(
    provider: Provider, client: Client, ann: str, name: str
) -> None:
    url = back(provider.authorize(begin(client), ann))
    assert client.get(f"{url}&{name}=other").status_code == 400
    assert not is_signed_in(client)


def test_a_code_of_another_sign_in_does_not_fit(
    provider: Provider, client: Client, ann: str
) -> None:
    stolen = parse_qs(urlsplit(provider.authorize(begin(Client()), ann)).query)["code"][0]
    own = back(provider.authorize(begin(client), ann))
    # PKCE: the verifier of this browser is not that of the stolen code.
    assert client.get(changed(own, code=stolen)).status_code == 400
    assert not is_signed_in(client)


def test_a_session_that_was_there_before_is_not_kept(
    provider: Provider, client: Client, ann: str
) -> None:
    session = client.session
    session["planted"] = 1
    session.save()
    planted = session.session_key
    client.cookies[django_settings.SESSION_COOKIE_NAME] = planted
    sign_in(client, provider, ann)
    assert is_signed_in(client)
    assert client.session.session_key != planted


def test_groups_make_staff_until_the_next_sign_in_without(
    provider: Provider, client: Client, ann: str
) -> None:
    provider.people[ann]["groups"] = ["taskyard-staff"]
    provider.save()
    sign_in(client, provider, ann)
    assert client.get("/staff/").status_code == 200
    del provider.people[ann]["groups"]
    provider.save()
    client.post("/sign-out/")
    sign_in(client, provider, ann)
    assert client.get("/staff/").status_code == 404
    assert not User.objects.get().is_staff


def test_the_page_gives_a_role_that_a_token_does_not_give(
    provider: Provider, client: Client, ann: str
) -> None:
    api = ApiClient(Client(), provider.token_of(ann)["access_token"])
    assert api.get("queues/").status_code == 403
    provider.people[ann]["groups"] = ["taskyard-staff"]
    provider.save()
    token = ApiClient(Client(), provider.token_of(ann)["access_token"])
    assert token.get("queues/").status_code == 403
    sign_in(client, provider, ann)
    assert token.get("queues/").status_code == 200


def test_activity_does_not_make_a_session_longer(
    provider: Provider, client: Client, ann: str
) -> None:
    sign_in(client, provider, ann)
    later = timezone.now() + timedelta(minutes=30)
    ends_at = client.session.get_expiry_date(modification=later)
    assert ends_at <= timezone.now() + timedelta(seconds=3600)
    assert not client.session.get_expire_at_browser_close()


@pytest.mark.parametrize("path", [f"/tasks/?q={'x' * 2000}", f"/tasks/?q={'ы' * 400}"])
def test_an_address_that_is_too_long_for_the_cookie_is_left_out(
    provider: Provider, client: Client, ann: str, path: str
) -> None:
    url = back(provider.authorize(begin(client, path), ann))
    assert len(client.cookies["taskyard_sso"].OutputString()) < 2048
    assert client.get(url).headers["Location"] == "/tasks/"


def test_the_redirect_address_is_at_the_public_address(
    provider: Provider, client: Client, settings: Any
) -> None:
    public = {"public_url": "https://tasks.example.org"}
    settings.TASKYARD_OIDC = {**settings.TASKYARD_OIDC, **public}
    query = parse_qs(urlsplit(begin(client)).query)
    assert query["redirect_uri"] == ["https://tasks.example.org/sso/callback/"]


def test_a_refused_id_token_is_logged_without_its_text(
    provider: Provider, client: Client, ann: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = begin(client)
    url = back(provider.authorize(first, ann))
    state, _nonce, verifier, next_url = signing.loads(
        client.cookies["taskyard_sso"].value, salt=SALT
    )
    other = signing.dumps([state, "another nonce", verifier, next_url], salt=SALT)
    client.cookies["taskyard_sso"] = other
    assert client.get(url).status_code == 400
    (record,) = [each for each in caplog.records if each.msg == "single sign-on refused"]
    assert record.why == "ID token: InvalidClaimError"  # type: ignore[attr-defined]


def test_a_suspended_person_stays_out(provider: Provider, client: Client, ann: str) -> None:
    sign_in(client, provider, ann)
    client.post("/sign-out/")
    User.objects.update(is_active=False)
    answer = sign_in(client, provider, ann)
    assert answer.status_code == 403
    assert "suspended" in answer.text
    assert not is_signed_in(client)


def test_a_provider_that_is_down_is_a_clear_page(provider: Provider, client: Client) -> None:
    provider.stop()
    try:
        answer = client.get("/sso/")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "2"
        assert "does not answer" in answer.text
    finally:
        provider.start()
    deadline = time.monotonic() + 10
    while client.get("/sso/").status_code == 503:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert client.get("/sso/").status_code == 302


def test_a_provider_that_goes_down_meanwhile_is_a_clear_page(
    provider: Provider, client: Client, ann: str
) -> None:
    url = back(provider.authorize(begin(client), ann))
    provider.stop()
    try:
        answer = client.get(url)
    finally:
        provider.start()
    assert answer.status_code == 503
    assert not is_signed_in(client)


def test_the_log_in_page_offers_the_provider(provider: Provider, client: Client) -> None:
    page = client.get("/sign-in/", {"next": "/tasks/new/"}).text
    assert 'href="/sso/?next=%2Ftasks%2Fnew%2F"' in page
    assert "Sign in with Example" in page
    assert 'id="password"' in page


def test_without_single_sign_on_there_is_nothing(client: Client) -> None:
    assert "/sso/" not in client.get("/sign-in/").text
    assert client.get("/sso/").status_code == 404
    assert client.get("/sso/callback/").status_code == 404


def test_without_passwords_only_the_provider_signs_in(
    provider: Provider, client: Client, settings: Any, new_user: Any
) -> None:
    settings.TASKYARD_PASSWORD_LOGIN = False
    user = new_user("local")
    user.set_password("password123")
    user.save()
    pair = tokens.issue(user)
    page = client.get("/sign-in/")
    assert page.status_code == 200
    assert "Sign in with Example" in page.text
    assert 'id="password"' not in page.text
    form = {"username": "local", "password": "password123"}
    for path in ("/sign-in/", "/register/"):
        answer = client.post(path, form)
        assert answer.status_code == 403
        assert "Use single sign-on" in answer.text
    for path in ("token", "register"):
        answer = client.post(f"/api/{path}/", form)
        assert answer.status_code == 403
        assert answer.json()["code"] == "password_login_off"
    # The admin has no form of its own either.
    admin = client.get("/admin/login/", {"next": "/admin/"})
    assert admin.headers["Location"] == "/sign-in/?next=/admin/"
    assert client.post("/admin/login/", form).headers["Location"].startswith("/sign-in/")
    assert not is_signed_in(client)
    client.force_login(user)
    assert client.get("/admin/login/", {"next": "/admin/"}).status_code == 403
    new = {"old_password": "password123", "new_password": "another-one-1"}
    assert client.post("/password/", new).status_code == 403
    refreshed = client.post("/api/token/refresh/", {"refresh": pair.refresh})
    assert (refreshed.status_code, refreshed.json()["code"]) == (401, "token_not_valid")
    assert "/password/" not in client.get("/tasks/").text
