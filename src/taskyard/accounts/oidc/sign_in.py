"""Sign in on the page: the authorization code flow with PKCE, state and nonce.

A signed cookie of the browser keeps the secrets between the two requests. So a
callback without it, or with that of another browser, signs no user in, and nothing is stored here
for people who do not come back.
"""

import hmac
import logging
import re
import secrets
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.client import OAuth2Client
from django.core import signing

from taskyard.accounts.claims import IssuerClaims
from taskyard.accounts.errors import SsoDenied, SsoExpired, SsoInvalid, SsoOff, SsoUnavailable
from taskyard.accounts.oidc import configuration, persons, verification
from taskyard.accounts.oidc.configuration import Configuration
from taskyard.accounts.oidc.http import BadAnswer, client_for, get_object
from taskyard.accounts.oidc.provider import provider_of

logger = logging.getLogger(__name__)
# How long a person may take at the provider.
FLOW_SECONDS = 600
# A provider that went down since shows an error of the browser, so its metadata must be this young.
METADATA_SECONDS = 10.0
SALT = "taskyard.accounts.oidc.sign_in"
# What form encoding and plain text write alike; RFC 6749, 2.3.1 leaves room for both.
UNRESERVED = re.compile(r"[A-Za-z0-9._~-]*")

# Sign-ins that wait for the provider at once; a provider that hangs must not hold all threads.
_places = threading.BoundedSemaphore(4)


@dataclass(frozen=True)
class Begun:
    """A sign-in that has begun: where the browser goes, and what it brings back."""

    url: str
    cookie: str


@dataclass(frozen=True)
class Ended:
    """A sign-in that has ended well, and where its page leads."""

    claims: IssuerClaims
    next_url: str


class _Auth(httpx.Auth, ClientAuth):  # type: ignore[misc]  # Authlib has no types
    """The authentication of the client at the token endpoint, by Authlib."""

    requires_request_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        url, headers, body = self.prepare(
            request.method, str(request.url), request.headers, request.content.decode()
        )
        headers["Content-Length"] = str(len(body))
        yield httpx.Request(
            request.method, url, headers=headers, content=body, extensions=request.extensions
        )


class _Client(OAuth2Client):  # type: ignore[misc]
    client_auth_class = _Auth


def begin(*, redirect_uri: str, next_url: str) -> Begun:
    """Begin a sign-in. Raises SsoOff, SsoUnavailable."""
    config = _of_the_page()
    metadata = provider_of(config.issuer).metadata.get(younger_than=METADATA_SECONDS)
    state, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
    url, _state = _client(config, metadata, redirect_uri).create_authorization_url(
        metadata["authorization_endpoint"], state=state, code_verifier=verifier, nonce=nonce
    )
    return Begun(url, signing.dumps([state, nonce, verifier, next_url], salt=SALT))


def finish(*, cookie: str, query: Mapping[str, str], redirect_uri: str) -> Ended:
    """End a sign-in with the parameters of the callback.

    Raises SsoOff, SsoExpired, SsoDenied, SsoInvalid, SsoUnavailable.
    """
    config = _of_the_page()
    state, nonce, verifier, next_url = _remembered(cookie)
    if not hmac.compare_digest(state.encode(), query.get("state", "").encode()):
        raise SsoExpired
    metadata = provider_of(config.issuer).metadata.get()
    _check_issuer(config, metadata, query)
    if error := query.get("error"):
        raise SsoDenied(error=error[:100] if error.isprintable() else "error")
    if not query.get("code"):
        raise SsoInvalid
    with _place():
        answer = _exchange(config, metadata, redirect_uri, query["code"], verifier)
        access = answer.get("access_token")
        access_token = access if isinstance(access, str) else None
        claims = verification.id_token_claims(
            str(answer.get("id_token", "")), nonce=nonce, access_token=access_token
        )
        claims |= _more_claims(config, metadata, claims, access_token)
    if config.has_roles:
        # A provider may leave the claim out for a person without groups.
        claims.setdefault(config.groups_claim, [])
    return Ended(persons.claims_of(claims, config, expires_at=claims["exp"]), next_url)


@contextmanager
def _place() -> Iterator[None]:
    """One of the places of sign-ins that wait for the provider. Raises SsoUnavailable."""
    if not _places.acquire(blocking=False):
        raise SsoUnavailable
    try:
        yield
    finally:
        _places.release()


def _client(config: Configuration, metadata: Mapping[str, Any], redirect_uri: str) -> Any:
    return _Client(
        client_for(metadata["token_endpoint"]),
        client_id=config.client_id,
        client_secret=config.client_secret,
        token_endpoint_auth_method=_auth_method(config, metadata),
        scope=config.scope,
        redirect_uri=redirect_uri,
        code_challenge_method="S256",
    )


def _auth_method(config: Configuration, metadata: Mapping[str, Any]) -> str:
    if config.client_secret is None:
        return "none"
    supported = metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    plain = UNRESERVED.fullmatch(f"{config.client_id}{config.client_secret}")
    is_basic = "client_secret_basic" in supported and (
        plain or "client_secret_post" not in supported
    )
    return "client_secret_basic" if is_basic else "client_secret_post"


def _remembered(cookie: str) -> tuple[str, str, str, str]:
    try:
        state, nonce, verifier, next_url = signing.loads(cookie, salt=SALT, max_age=FLOW_SECONDS)
    except (signing.BadSignature, ValueError, TypeError):
        raise SsoExpired from None
    return state, nonce, verifier, next_url


def _check_issuer(
    config: Configuration, metadata: Mapping[str, Any], query: Mapping[str, str]
) -> None:
    """Raise SsoInvalid for the answer of another provider (RFC 9207)."""
    issuer = query.get("iss")
    is_promised = metadata.get("authorization_response_iss_parameter_supported") is True
    if (issuer is None and is_promised) or (issuer is not None and issuer != config.issuer):
        logger.warning("single sign-on refused", extra={"why": "answer of another issuer"})
        raise SsoInvalid


def _exchange(
    config: Configuration,
    metadata: Mapping[str, Any],
    redirect_uri: str,
    code: str,
    verifier: str,
) -> Mapping[str, Any]:
    """The tokens for a code. Raises SsoInvalid for a code that is used up, SsoUnavailable."""
    client = _client(config, metadata, redirect_uri)
    try:
        answer: Mapping[str, Any] = client.fetch_token(
            metadata["token_endpoint"],
            grant_type="authorization_code",
            code=code,
            code_verifier=verifier,
        )
    except OAuth2Error as error:
        logger.warning("single sign-on refused", extra={"why": str(error.error)[:100]})
        raise SsoInvalid from error
    except (httpx.HTTPError, ValueError, TypeError) as error:
        _log_outage("token", error)
        raise SsoUnavailable from error
    return answer


def _more_claims(
    config: Configuration,
    metadata: Mapping[str, Any],
    claims: Mapping[str, Any],
    access_token: str | None,
) -> dict[str, Any]:
    """What the ID token leaves to the endpoint of user information.

    Raises SsoInvalid, SsoUnavailable.
    """
    is_enough = ("preferred_username" in claims or "email" in claims) and (
        not config.has_roles or config.groups_claim in claims
    )
    if is_enough or access_token is None or "userinfo_endpoint" not in metadata:
        return {}
    try:
        more = get_object(metadata["userinfo_endpoint"], bearer=access_token)
    except (BadAnswer, httpx.HTTPError) as error:
        _log_outage("userinfo", error)
        raise SsoUnavailable from error
    # OpenID Connect Core, 5.3.2: tokens could have been exchanged.
    if more.get("sub") != claims["sub"]:
        raise SsoInvalid
    return {name: value for name, value in more.items() if name not in claims}


def _log_outage(what: str, error: Exception) -> None:
    logger.error(
        "single sign-on provider failed",
        extra={"what": what, "why": str(error) or type(error).__name__},
    )


def _of_the_page() -> Configuration:
    config = configuration.required()
    if config.client_id is None:
        raise SsoOff
    return config
