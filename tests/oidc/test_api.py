"""Bearer tokens of the issuer on the API: who they are, and what they may do."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from taskyard.accounts.models import OidcIdentity, User
from taskyard.accounts.roles import Role, role_of, set_role
from taskyard.core.models import AuditEntry, Quota, Task
from tests.api_client import ApiClient
from tests.oidc.issuer import JWKS, WELL_KNOWN, Issuer
from tests.oidc.provider import Provider

NewBearer = Callable[[str], ApiClient]


@pytest.fixture(autouse=True)
def _database(db: None) -> None:
    pass


def test_a_new_person_is_a_user_at_first_sight(trusted: Issuer, bearer: NewBearer) -> None:
    token = trusted.sign(
        preferred_username="ann", email="ann@example.org", given_name="Ann", family_name="Lee"
    )
    created = bearer(token).create()
    assert created.status_code == 201
    me = bearer(token).get("me/").json()
    assert (me["username"], me["email"]) == ("ann", "ann@example.org")
    assert (me["first_name"], me["last_name"]) == ("Ann", "Lee")
    user = User.objects.get()
    assert not user.has_usable_password()
    assert not user.is_staff
    assert Quota.objects.get(user=user).active == 1
    assert Task.objects.get().owner_id == user.pk
    assert AuditEntry.objects.filter(action="sso_registered", by_id=user.pk).count() == 1


def test_a_known_person_costs_one_look_up(trusted: Issuer, bearer: NewBearer) -> None:
    api = bearer(trusted.sign(groups=[]))
    api.get("me/")
    with CaptureQueriesContext(connection) as queries:
        assert api.get("me/").status_code == 200
    assert len(queries) == 1
    assert User.objects.count() == 1


def test_another_token_of_the_same_person_is_the_same_user(
    trusted: Issuer, bearer: NewBearer
) -> None:
    first = bearer(trusted.sign(preferred_username="ann", email="ann@example.org"))
    first.patch("me/", {"email": "own@example.org"})
    # The issuer has renamed the person: nothing here is overwritten.
    renamed = bearer(trusted.sign(preferred_username="lee", email="lee@example.org"))
    me = renamed.get("me/").json()
    assert (me["username"], me["email"]) == ("ann", "own@example.org")
    assert OidcIdentity.objects.count() == 1


@pytest.mark.parametrize("name", ["ann", "ANN", "ａｎｎ"])
def test_a_local_account_of_the_same_name_is_not_taken_over(
    trusted: Issuer, bearer: NewBearer, new_user: Callable[..., User], name: str
) -> None:
    local = new_user("ann", email="ann@example.org", is_staff=True)
    api = bearer(trusted.sign(preferred_username=name, email="ann@example.org"))
    me = api.get("me/").json()
    assert me["id"] != local.pk
    assert me["username"].lower() == "ann-2"
    assert (
        bearer(trusted.sign(sub="bob-1", preferred_username=name))
        .get("me/")
        .json()["username"]
        .lower()
        == "ann-3"
    )


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"preferred_username": "ann@example.org"}, "ann@example.org"),
        ({"preferred_username": "Ann Lee, Jr."}, "Ann-Lee-Jr."),
        ({"preferred_username": "DOMAIN\\ann"}, "DOMAIN-ann"),
        ({"preferred_username": "a\0b\u202ec\u3164"}, "abc"),
        ({"preferred_username": "анна"}, "анна"),
        ({"preferred_username": "ﷺ" * 200}, None),
        ({"preferred_username": ["ann"], "email": "lee@example.org"}, "lee"),
        ({"email": "not an address"}, "user"),
        ({"preferred_username": "\u3164", "email": 7}, "user"),
        ({}, "user"),
    ],
)
def test_a_name_is_made_valid(
    trusted: Issuer, bearer: NewBearer, claims: dict[str, Any], name: str | None
) -> None:
    me = bearer(trusted.sign(**claims)).get("me/").json()
    assert name is None or me["username"] == name
    User.objects.get().full_clean(exclude=["password", "email"])


def test_an_address_that_nobody_verified_is_not_kept(trusted: Issuer, bearer: NewBearer) -> None:
    token = trusted.sign(email="boss@example.org", email_verified=False)
    assert bearer(token).get("me/").json()["email"] == ""


def test_groups_make_staff_and_unmake_it_with_the_next_token(
    trusted: Issuer, bearer: NewBearer
) -> None:
    assert bearer(trusted.sign(groups=["taskyard-staff"])).get("queues/").status_code == 200
    assert User.objects.get().is_staff
    # A token that names no groups changes nothing.
    assert bearer(trusted.sign()).get("queues/").status_code == 200
    assert bearer(trusted.sign(groups=["other"])).get("queues/").status_code == 403
    assert not User.objects.get().is_staff
    changes = AuditEntry.objects.filter(action="change_role").order_by("id")
    assert [entry.details["after"] for entry in changes] == ["operator", "owner"]
    assert {entry.details["reason"] for entry in changes} == {"single sign-on"}


@pytest.mark.parametrize("groups", [[], ["watchers"]])
def test_an_old_token_gives_no_withdrawn_role_back(
    trusted: Issuer, bearer: NewBearer, settings: Any, groups: list[str]
) -> None:
    settings.TASKYARD_OIDC = trusted.configuration(viewer_group="watchers")
    old = bearer(trusted.sign(groups=["taskyard-staff"]))
    assert old.get("queues/").status_code == 200
    bearer(trusted.sign(groups=groups)).get("me/")
    role = Role.VIEWER if groups else Role.OWNER
    assert old.get("me/").status_code == 200
    assert old.post("queues/default/pause/").status_code == 403
    assert role_of(User.objects.get()) is role
    # The withdrawn role of a viewer stays away too, and each such token costs one query.
    bearer(trusted.sign(groups=[])).get("me/")
    for api in (old, bearer(trusted.sign(groups=["watchers"]))):
        with CaptureQueriesContext(connection) as queries:
            assert api.get("me/").status_code == 200
        assert len(queries) == 1
    assert role_of(User.objects.get()) is Role.OWNER


def test_a_role_withdrawn_here_does_not_come_back_with_a_token(
    trusted: Issuer, bearer: NewBearer
) -> None:
    api = bearer(trusted.sign(groups=["taskyard-staff"]))
    api.get("me/")
    set_role(User.objects.get(), Role.OWNER)
    assert api.get("queues/").status_code == 403


def test_viewers_of_a_group_see_and_change_nothing(
    trusted: Issuer, bearer: NewBearer, settings: Any
) -> None:
    settings.TASKYARD_OIDC = trusted.configuration(viewer_group="watchers")
    api = bearer(trusted.sign(groups=["watchers"]))
    assert api.get("queues/").status_code == 200
    assert api.post("queues/default/pause/").status_code == 403
    user = User.objects.get()
    assert (role_of(user), user.is_staff) == (Role.VIEWER, False)
    assert bearer(trusted.sign(groups=[])).get("queues/").status_code == 403
    assert role_of(User.objects.get()) is Role.OWNER


def test_a_superuser_was_made_here_and_stays_one(trusted: Issuer, bearer: NewBearer) -> None:
    bearer(trusted.sign()).get("me/")
    User.objects.update(is_staff=True, is_superuser=True)
    assert bearer(trusted.sign(groups=[])).get("queues/").status_code == 200
    assert User.objects.get().is_superuser


def test_without_a_group_in_the_settings_staff_stays_as_it_is(
    trusted: Issuer, bearer: NewBearer, settings: Any
) -> None:
    settings.TASKYARD_OIDC = trusted.configuration(staff_group=None)
    bearer(trusted.sign()).get("me/")
    User.objects.update(is_staff=True)
    assert bearer(trusted.sign(groups=[])).get("queues/").status_code == 200


def test_a_suspended_person_stays_out(trusted: Issuer, bearer: NewBearer) -> None:
    api = bearer(trusted.sign())
    assert api.get("me/").status_code == 200
    User.objects.update(is_active=False)
    for refused in (api.get("me/"), api.create()):
        assert refused.status_code == 401
        assert refused.json()["code"] == "token_not_valid"


def test_a_refused_token_is_a_401_and_an_outage_a_503(trusted: Issuer, bearer: NewBearer) -> None:
    refused = bearer(trusted.sign(aud="other")).get("me/")
    assert (refused.status_code, refused.json()["code"]) == (401, "token_not_valid")
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="api"'


def test_without_the_issuer_and_without_keys_it_is_a_503(
    trusted: Issuer, bearer: NewBearer
) -> None:
    trusted.answers = {JWKS: (500, b""), WELL_KNOWN: (500, b"")}
    for answer in (bearer(trusted.sign()).get("me/"), bearer(trusted.sign()).create()):
        assert (answer.status_code, answer.json()["code"]) == (503, "sso_unavailable")
        assert answer.headers["Retry-After"] == "2"
    assert not User.objects.exists()


def test_the_command_line_is_told_where_to_sign_in(trusted: Issuer, nobody: ApiClient) -> None:
    assert nobody.get("sso/").json() == {
        "issuer": trusted.url,
        "client_id": "taskyard-cli",
        "device_authorization_endpoint": f"{trusted.url}/device",
        "token_endpoint": f"{trusted.url}/token",
        "scope": "openid",
    }


def test_without_single_sign_on_there_is_nowhere_to_sign_in(
    issuer: Issuer, nobody: ApiClient, settings: Any
) -> None:
    for given in (None, issuer.configuration(cli_client_id=None)):
        settings.TASKYARD_OIDC = given
        answer = nobody.get("sso/")
        assert (answer.status_code, answer.json()["code"]) == (404, "sso_off")


def test_tokens_of_a_certified_provider(
    provider: Provider, bearer: NewBearer, subject: str
) -> None:
    provider.people = {subject: {"preferred_username": "ann", "groups": ["taskyard-staff"]}}
    provider.save()
    answer = provider.token_of(subject)
    assert bearer(answer["access_token"]).get("me/").json()["username"] == "ann"
    assert bearer(answer["access_token"]).get("queues/").status_code == 200
    # An ID token of the same provider is no access token.
    assert bearer(answer["id_token"]).get("me/").status_code == 401


@pytest.mark.django_db(transaction=True)
def test_a_person_who_comes_twenty_times_at_once_is_one_user(
    trusted: Issuer, bearer: NewBearer
) -> None:
    tokens = [trusted.sign(preferred_username="ann", jti=str(number)) for number in range(20)]
    answers: list[int] = []

    def ask(token: str) -> None:
        try:
            answers.append(bearer(token).get("me/").status_code)
        finally:
            connection.close()

    bearer(trusted.sign(sub="other")).get("limits/")  # the keys are kept now
    threads = [threading.Thread(target=ask, args=[token]) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 20
    assert User.objects.filter(username__startswith="ann").count() == 1
