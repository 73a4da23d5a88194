"""Generated from `async_sso.py` by `python tools/unasync.py`; edit that file instead."""

import time
from collections.abc import Mapping
from typing import Any

import httpx

from taskyard.client.device import DeviceCode
from taskyard.client.errors import AuthenticationError, ConnectionFailed
from taskyard.client.ssl_context import create_ssl_context, is_loopback
from taskyard.client.tokens import Issuer, Tokens

TIMEOUT_SECONDS = 30.0
SLOWER_SECONDS = 5.0
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


def request_code(url: str, client_id: str, scope: str) -> DeviceCode:
    """Begin a sign-in. Raises AuthenticationError, ConnectionFailed."""
    status, answer = _post(url, {"client_id": client_id, "scope": scope})
    if status != 200:
        raise _refusal(answer)
    return DeviceCode.from_dict(answer)


def wait_for_tokens(issuer: Issuer, device: DeviceCode) -> Tokens:
    """Poll until the person has signed in.

    Raises AuthenticationError if the person refuses, or is too slow.
    """
    interval, ends_at = device.interval, time.monotonic() + device.expires_in
    form = {
        "grant_type": DEVICE_CODE,
        "client_id": issuer.client_id,
        "device_code": device.secret,
    }
    while time.monotonic() < ends_at:
        time.sleep(interval)
        try:
            status, answer = _post(issuer.token_endpoint, form)
        except ConnectionFailed:
            interval *= 2  # RFC 8628, 3.5
            continue
        if status == 200:
            return _tokens(answer, issuer)
        if answer.get("error") == "slow_down":
            interval += SLOWER_SECONDS
        elif answer.get("error") != "authorization_pending":
            raise _refusal(answer)
    raise AuthenticationError(401, "expired_token", "The code has expired. Log in again.")


def renew(tokens: Tokens, issuer: Issuer) -> Tokens | None:
    """New tokens for a refresh token; None if the provider refuses it. Raises ConnectionFailed."""
    form = {
        "grant_type": "refresh_token",
        "client_id": issuer.client_id,
        "refresh_token": tokens.refresh or "",
    }
    status, answer = _post(issuer.token_endpoint, form)
    return _tokens(answer, issuer, refresh=tokens.refresh) if status == 200 else None


def _tokens(answer: Mapping[str, Any], issuer: Issuer, refresh: str | None = None) -> Tokens:
    access, fresh = answer.get("access_token"), answer.get("refresh_token")
    if not isinstance(access, str):
        raise ConnectionFailed("the provider's answer has no access token")
    return Tokens(access, fresh if isinstance(fresh, str) else refresh, issuer)


def _refusal(answer: Mapping[str, Any]) -> AuthenticationError:
    code = str(answer.get("error", "unknown"))
    return AuthenticationError(401, code, str(answer.get("error_description") or code))


def _post(url: str, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """Post a form; the status, below 500, and the JSON object. Raises ConnectionFailed."""
    if not (url.startswith("https://") or is_loopback(url)):
        raise ConnectionFailed(f"{url}: a provider must have HTTPS")
    try:
        with httpx.Client(
            timeout=TIMEOUT_SECONDS,
            trust_env=not is_loopback(url),
            verify=create_ssl_context(url),
        ) as http:
            headers = {"Accept": "application/json"}
            response = http.post(url, data=dict(form), headers=headers)
        answer = response.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
        raise ConnectionFailed(f"{url}: {error or type(error).__name__}") from error
    if response.status_code >= 500 or not isinstance(answer, dict):
        raise ConnectionFailed(f"{url}: the provider answered {response.status_code}")
    return response.status_code, answer
