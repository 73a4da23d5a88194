"""The settings of single sign-on: what does not fit together does not start."""

from typing import Any

import pytest

from taskyard.server import env
from taskyard.server.env import ConfigurationError

ISSUER = {"TASKYARD_OIDC_ISSUER": "https://login.example.org/realms/main"}
PAGE = {**ISSUER, "TASKYARD_OIDC_CLIENT_ID": "taskyard"}
API = {**ISSUER, "TASKYARD_OIDC_AUDIENCE": "https://tasks.example.org"}


def read(given: dict[str, str]) -> dict[str, Any] | None:
    return env.single_sign_on(env.read(given))


def test_it_is_off_by_default() -> None:
    assert read({}) is None


def test_the_page_and_the_api_may_be_on_alone() -> None:
    page, api = read(PAGE), read(API)
    assert page is not None
    assert api is not None
    assert (page["client_id"], page["audience"]) == ("taskyard", None)
    assert (api["client_id"], api["audience"]) == (None, "https://tasks.example.org")
    assert page["name"] == "login.example.org"
    assert page["session_seconds"] == 12 * 3600
    assert page["public_url"] is None
    public = read({**PAGE, "TASKYARD_PUBLIC_URL": "https://tasks.example.org"})
    assert public is not None
    assert public["public_url"] == "https://tasks.example.org"


def test_passwords_may_be_off_with_single_sign_on() -> None:
    assert read({**PAGE, "TASKYARD_PASSWORD_LOGIN": "off"}) is not None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"TASKYARD_PASSWORD_LOGIN": "off"}, "no user could log in"),
        ({**API, "TASKYARD_PASSWORD_LOGIN": "off"}, "no user could log in"),
        ({"TASKYARD_OIDC_CLIENT_ID": "a"}, "CLIENT_ID needs TASKYARD_OIDC_ISSUER"),
        ({"TASKYARD_OIDC_STAFF_GROUP": "a"}, "STAFF_GROUP needs TASKYARD_OIDC_ISSUER"),
        (ISSUER, "needs TASKYARD_OIDC_CLIENT_ID or TASKYARD_OIDC_AUDIENCE"),
        ({**PAGE, "TASKYARD_OIDC_AUDIENCE": "taskyard"}, "must differ from the ids of the clients"),
        ({**PAGE, "TASKYARD_OIDC_CLI_CLIENT_ID": "cli"}, "needs TASKYARD_OIDC_AUDIENCE"),
        (
            {**API, "TASKYARD_OIDC_CLI_CLIENT_ID": "https://tasks.example.org"},
            "must differ from the ids of the clients",
        ),
        (
            {**PAGE, "TASKYARD_OIDC_STAFF_GROUP": "a", "TASKYARD_OIDC_VIEWER_GROUP": "a"},
            "are the same",
        ),
        ({**PAGE, "TASKYARD_OIDC_SCOPE": "profile"}, "SCOPE must contain openid"),
        ({**PAGE, "TASKYARD_OIDC_SESSION_HOURS": "0"}, "greater than or equal to 1"),
        ({**PAGE, "TASKYARD_OIDC_ISSUR": "a"}, "is not a setting"),
        *(
            ({**PAGE, "TASKYARD_OIDC_ISSUER": url}, "TASKYARD_OIDC_ISSUER: expected an address")
            for url in (
                *("login.example.org", "http://login.example.org", "https://", "ftp://a.example"),
                *("https://a.example/?x=1", "https://a.example/#x", "https://me@a.example/"),
            )
        ),
    ],
)
def test_what_does_not_fit_together_is_one_clear_line(given: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as error:
        read(given)
    assert "\n" not in str(error.value)


def test_only_an_issuer_on_this_machine_may_be_without_https() -> None:
    assert read({**PAGE, "TASKYARD_OIDC_ISSUER": "http://127.0.0.1:9000"}) is not None
