"""A certified OpenID provider in a process of its own, and a person who signs in there."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import httpx
from joserfc.jwk import RSAKey

from taskyard.server import child_process
from tests import npm
from tests.servers import free_port

FOLDER = Path(__file__).parent
AUDIENCE = "https://tasks.example.org"
PAGE, PAGE_SECRET, PROGRAM = "taskyard", "a secret of 32 characters or so: +%/&", "taskyard-cli"
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
START_SECONDS = 30.0


class Provider:
    """`with Provider(redirect_uri) as provider`: it runs at ``provider.issuer`` in the block.

    ``people`` are the claims by subject. A change of them, of ``skew`` and of ``seconds`` counts
    after ``save``, one of ``key`` after ``restart``.
    """

    def __init__(self, redirect_uri: str, directory: Path) -> None:
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.people: dict[str, dict[str, Any]] = {}
        self.skew = 0
        """Seconds by which its clock is ahead."""
        self.seconds = 600
        """How long its tokens are valid."""
        self.key = new_key()
        self.redirect_uri = redirect_uri
        self._state = directory / "provider.json"
        self._log = directory / "provider.log"
        self._modules = npm.installed(FOLDER)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a Taskyard that signs people in here."""
        return {
            "TASKYARD_OIDC_ISSUER": self.issuer,
            "TASKYARD_OIDC_CLIENT_ID": PAGE,
            "TASKYARD_OIDC_CLIENT_SECRET": PAGE_SECRET,
            "TASKYARD_OIDC_AUDIENCE": AUDIENCE,
            "TASKYARD_OIDC_NAME": "Example",
            "TASKYARD_OIDC_STAFF_GROUP": "taskyard-staff",
            "TASKYARD_OIDC_CLI_CLIENT_ID": PROGRAM,
        }

    def save(self) -> None:
        state = {"people": self.people, "skew": self.skew, "seconds": self.seconds}
        fresh = self._state.with_suffix(".new")
        fresh.write_text(json.dumps(state))
        fresh.replace(self._state)

    def start(self) -> None:
        self.save()
        settings = {
            "modules": str(self._modules),
            "issuer": self.issuer,
            "port": self.port,
            "audience": AUDIENCE,
            "state": str(self._state),
            "keys": [self.key],
            "clients": [
                {
                    "client_id": PAGE,
                    "client_secret": PAGE_SECRET,
                    "redirect_uris": [self.redirect_uri],
                    "token_endpoint_auth_method": "client_secret_post",
                },
                {
                    "client_id": PROGRAM,
                    "token_endpoint_auth_method": "none",
                    "grant_types": [DEVICE_CODE, "refresh_token"],
                    "redirect_uris": [],
                    "response_types": [],
                },
            ],
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(npm.NODE / "bin/node"), str(FOLDER / "provider.mjs"), json.dumps(settings)],
                env={"PATH": os.environ["PATH"], "NODE_NO_WARNINGS": "1"},
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=child_process.die_with_parent(os.getpid(), signal.SIGKILL),
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, "the provider does not start"
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            child_process.stop([self._process], seconds=5)
        self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def _answers(self) -> bool:
        try:
            url = f"{self.issuer}/.well-known/openid-configuration"
            return httpx.get(url, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def token_of(self, subject: str) -> dict[str, Any]:
        """The tokens of a program that a person has signed in, by the device flow."""
        with self.browser() as browser:
            form = {"client_id": PROGRAM, "scope": "openid profile email offline_access"}
            device = browser.post("/device/auth", data=form).json()
            self.approve(device["verification_uri_complete"], subject)
            answer = browser.post(
                "/token",
                data={
                    "grant_type": DEVICE_CODE,
                    "client_id": PROGRAM,
                    "device_code": device["device_code"],
                },
            )
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens

    def approve(self, url: str, subject: str) -> None:
        """Sign a person in at the address that a device shows, and let the device in."""
        with self.browser() as browser:
            page = follow(browser, browser.get(url), subject)
            for _ in ("the code", "its confirmation"):
                page = follow(browser, send_form(browser, page), subject)
            assert "Sign-in Success" in page.text, page.text

    def browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.issuer, trust_env=False)

    def authorize(self, url: str, subject: str) -> str:
        """Sign a person in at the address that Taskyard redirects to; where it leads back."""
        with self.browser() as browser:
            answer = follow(browser, browser.get(url), subject)
        assert answer.is_redirect, answer.text
        return answer.headers["Location"]


def follow(browser: httpx.Client, answer: httpx.Response, subject: str) -> httpx.Response:
    """Follow redirects within the provider, and fill its log-in form in."""
    home = urlsplit(str(answer.url)).netloc
    for _ in range(20):
        if answer.is_redirect:
            url = urljoin(str(answer.url), answer.headers["Location"])
            if urlsplit(url).netloc != home:
                return answer
            answer = browser.get(url)
        elif 'name="login"' in answer.text:
            answer = send_form(browser, answer, login=subject, password="any")
        else:
            return answer
    raise AssertionError("the provider redirects for ever")


def send_form(browser: httpx.Client, page: httpx.Response, **typed: str) -> httpx.Response:
    """Send the form of a page with its hidden fields."""
    (action,) = re.findall(r'<form[^>]* action="([^"]+)"', page.text)[:1]
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
    url = urljoin(str(page.url), action.replace("&amp;", "&"))
    return browser.post(url, data={**hidden, **typed})


def new_key() -> dict[str, Any]:
    """A private key to sign with, as a JSON Web Key."""
    key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
    return dict(key.as_dict(private=True))
