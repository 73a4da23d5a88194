"""`taskyard login --sso`: the device flow with a certified provider, and the renewal of tokens."""

import json
import re
import stat
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest

from taskyard.client import AuthenticationError, ConnectionFailed, DeviceCode, Issuer, sync_sso
from tests.client.conftest import Prompt
from tests.live_system import Live
from tests.local_server import LocalServer
from tests.oidc.live import with_provider
from tests.oidc.provider import AUDIENCE, Provider


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Live, Provider]]:
    with with_provider(tmp_path_factory.mktemp("sso")) as (live, provider):
        provider.people = {"ann-1": {"preferred_username": "ann"}}
        provider.save()
        yield live, provider


@pytest.mark.servers
def test_a_person_logs_in_with_a_code_and_stays_logged_in(
    systems: tuple[Live, Provider], tmp_path: Path
) -> None:
    live, provider = systems
    prompt = Prompt(live.url, tmp_path)
    process = prompt.start("login", "--sso")
    assert process.stderr is not None
    said = process.stderr.readline()
    found = re.fullmatch(r"Open (\S+) and check that it shows the code (\S+)\n", said)
    assert found is not None, said
    assert found[1].startswith(provider.issuer)
    provider.approve(found[1], "ann-1")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    assert out == f"Logged in at {live.url} as ann\n"
    saved = tmp_path / "taskyard" / "login.json"
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    login = json.loads(saved.read_text())
    assert login["issuer"] == {
        "client_id": "taskyard-cli",
        "token_endpoint": f"{provider.issuer}/token",
    }
    # Neither the code nor a token of ours is needed to submit, also for a long body.
    long = f"numbers:={[1] * 9000}"
    assert prompt.type("submit", "sum", long, "--wait").out == '{"result": 9000}\n'
    # The provider renews the token.
    saved.write_text(json.dumps({**login, "access": "expired"}))
    assert json.loads(prompt.type("whoami", "--json").out)["username"] == "ann"
    assert json.loads(saved.read_text())["access"] not in ("expired", login["access"])
    # A refresh token that the provider does not know ends the login.
    saved.write_text(json.dumps({**login, "access": "expired", "refresh": "unknown"}))
    ran = prompt.type("whoami")
    assert (ran.code, ran.err) == (3, "taskyard: You are not logged in: taskyard login\n")
    assert prompt.type("logout").code == 0
    assert not saved.exists()


@pytest.mark.servers
def test_a_person_who_refuses_is_not_logged_in(
    systems: tuple[Live, Provider], tmp_path: Path
) -> None:
    live, provider = systems
    process = Prompt(live.url, tmp_path).start("login", "--sso")
    assert process.stderr is not None
    url = process.stderr.readline().split()[1]
    with provider.browser() as browser:
        page = browser.get(url)
        form = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
        action = re.findall(r' action="([^"]+)"', page.text)[0]
        page = browser.post(action, data=form)
        form = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
        browser.post(action, data={**form, "abort": "yes"})
    _out, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "aborted" in err or "denied" in err
    assert not (tmp_path / "taskyard" / "login.json").exists()


@pytest.mark.servers
def test_a_long_upload_with_a_token_whose_keys_are_not_at_hand(
    tmp_path: Path,
) -> None:
    """The web admits a long body by its token before any view has seen one."""
    with with_provider(tmp_path) as (live, provider):
        provider.people = {"ann-1": {"preferred_username": "ann"}}
        provider.save()
        access = provider.token_of("ann-1")["access_token"]
        body = {"task_type": "sum", "input_data": {"numbers": [1] * 9000}}
        answer = httpx.post(
            f"{live.url}/api/tasks/create/",
            json=body,
            headers={"Authorization": f"Bearer {access}"},
            trust_env=False,
        )
        assert answer.status_code == 201, answer.text
        refused = httpx.post(
            f"{live.url}/api/tasks/create/",
            json=body,
            headers={"Authorization": f"Bearer {access[:-9]}AAAAAAAAA"},
            trust_env=False,
        )
        assert refused.status_code == 401
        assert AUDIENCE not in refused.text


class Answers:
    """A token endpoint that gives these answers in turn."""

    def __init__(self, *answers: tuple[int, dict[str, Any]]) -> None:
        self.left = [*answers]
        answering = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                status, document = answering.left.pop(0)
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = LocalServer(Handler)


PENDING = (400, {"error": "authorization_pending"})
CODE = DeviceCode("A", "https://login.example", None, expires_in=60, interval=0, secret="s")


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between polls, which the tests do not wait for."""
    seen: list[float] = []
    monkeypatch.setattr(sync_sso.time, "sleep", seen.append)
    return seen


def poll(*answers: tuple[int, dict[str, Any]]) -> Any:
    with Answers(*answers).server as server:
        return sync_sso.wait_for_tokens(Issuer(server.url, "taskyard-cli"), CODE)


def test_the_client_polls_slower_if_it_is_told_to(pauses: list[float]) -> None:
    slow = (400, {"error": "slow_down"})
    tokens = poll(PENDING, slow, PENDING, slow, (200, {"access_token": "a"}))
    assert (tokens.access, tokens.refresh) == ("a", None)
    assert pauses == [0, 0, 5, 5, 10]


def test_an_outage_of_the_provider_doubles_the_pause(pauses: list[float]) -> None:
    with Answers((503, {}), (503, {}), (200, {"access_token": "a"})).server as server:
        slower = DeviceCode("A", "https://x", None, expires_in=60, interval=1, secret="s")
        sync_sso.wait_for_tokens(Issuer(server.url, "cli"), slower)
    assert pauses == [1, 2, 4]


@pytest.mark.parametrize("error", ["access_denied", "expired_token", "invalid_grant"])
def test_a_refusal_ends_the_wait(pauses: list[float], error: str) -> None:
    with pytest.raises(AuthenticationError) as refused:
        poll(PENDING, (400, {"error": error, "error_description": "No."}))
    assert (refused.value.code, refused.value.detail) == (error, "No.")


def test_a_code_that_is_never_used_expires(pauses: list[float]) -> None:
    late = DeviceCode("A", "https://x", None, expires_in=0, interval=1, secret="s")
    with pytest.raises(AuthenticationError) as refused:
        sync_sso.wait_for_tokens(Issuer("http://127.0.0.1:9", "cli"), late)
    assert refused.value.code == "expired_token"


def test_a_provider_without_https_gets_no_secret() -> None:
    with pytest.raises(ConnectionFailed, match="HTTPS"):
        sync_sso.request_code("http://login.example/device", "cli", "openid")
