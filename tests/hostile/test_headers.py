"""The security headers of every response."""

import contextlib
import re
from collections.abc import Callable

import httpx
import pytest

from tests.hostile.attack import Attack
from tests.live_system import Live

pytestmark = pytest.mark.servers
ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
}


def test_headers_of_every_answer(attack: Attack, hostile: Live) -> None:
    """nosniff, frame, referrer and content policy on every answer"""
    user = attack.user()
    for path in (
        *("/api/docs/", "/admin/login/", "/api/tasks/", "/api/schema/", "/livez", "/readyz"),
        *("/", "/nothing", "/api/nothing", "/api/tasks/events/", "/static/admin/css/base.css"),
    ):
        url, headers = hostile.url + path, dict(user.http.headers)
        with httpx.stream("GET", url, headers=headers, timeout=10) as answer:
            attack.sent += 1
            attack.statuses.add(answer.status_code)
            found = {name: answer.headers.get(name) for name in ALWAYS}
            assert found == ALWAYS, path
            policy = answer.headers["content-security-policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
            assert "strict-transport-security" not in answer.headers
            assert "server" not in answer.headers


def test_pages_obey_their_policy(attack: Attack, hostile: Live) -> None:
    """no page has a script, style or handler of its own in it"""
    for path in ("/api/docs/", "/admin/login/"):
        page = httpx.get(hostile.url + path).text
        attack.sent += 1
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\sstyle=|\son[a-z]+=", page), (
            path
        )
        for address in re.findall(r'(?:src|href)="([^"]+)"', page):
            assert not address.startswith(("http:", "https:", "//", "javascript:", "data:")), path


def test_behind_https(attack: Attack, new_live: Callable[..., Live]) -> None:
    """TASKYARD_HTTPS: HSTS for a year, http redirected, cookies secure; no trust without a proxy"""
    proxied = new_live(TASKYARD_HTTPS="true", TASKYARD_TRUSTED_PROXIES="1")
    secure = {"X-Forwarded-Proto": "https"}
    with httpx.Client(base_url=proxied.url) as client:
        for path in ("/api/tasks/", "/api/docs/", "/admin/login/"):
            answer = client.get(path, headers=secure)
            attack.sent += 1
            assert answer.headers["strict-transport-security"] == "max-age=31536000"
            assert answer.status_code in (200, 401)
            for cookie in answer.headers.get_list("set-cookie"):
                assert "Secure" in cookie
            plain = client.get(path)
            attack.sent += 1
            assert plain.status_code == 301
            assert plain.headers["location"].startswith("https://")


def test_methods(attack: Attack) -> None:
    """methods that are none: 405 with Allow"""
    user = attack.user()
    for method in ("TRACE", "PROPFIND", "PATCH", "PUT", "DELETE", "SEARCH"):
        for path in ("/api/tasks/", "/api/tasks/create/", "/api/token/", "/api/schema/"):
            with contextlib.suppress(httpx.LocalProtocolError):
                answer = attack.send(method, path, 405, user=user)
                assert answer.headers["allow"]
