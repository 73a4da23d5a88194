"""Verify what the issuer has signed: ID tokens of a sign-in, and access tokens on the API."""

import json
import logging
import re
import time
from functools import lru_cache
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jws, jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jws import JWSRegistry

from taskyard.accounts.claims import IssuerClaims
from taskyard.accounts.errors import SsoInvalid, TokenRefused
from taskyard.accounts.oidc import configuration, persons
from taskyard.accounts.oidc.configuration import Configuration
from taskyard.accounts.oidc.provider import Keys, Provider, provider_of

logger = logging.getLogger(__name__)
# Public keys only. With HS256 the public key could pass for the secret.
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "Ed25519"),
)
LEEWAY_SECONDS = 30
# Between two questions for the key of an ID token.
PAUSE_SECONDS = 1.0
# A token with many groups is long; the headers of a request may have 64 KiB in all.
LONGEST_TOKEN = 16 * 1024
# RFC 9068, 2.1. Some providers write JWT, or nothing.
ACCESS_TYPES = ("at+jwt", "application/at+jwt", "jwt", None)
# Claims that only ID tokens and logout tokens have.
NOT_OF_ACCESS_TOKENS = ("nonce", "at_hash", "c_hash", "s_hash", "events")
# What reading a token raises, from a broken Base64 to an endless number.
UNREADABLE = (JoseError, ValueError, TypeError, KeyError, OverflowError, RecursionError)

_registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)


def access_claims(token: str) -> IssuerClaims:
    """The claims of an access token of the issuer; asks the provider for keys if need be.

    Raises TokenRefused, SsoUnavailable.
    """
    config, provider = _of_the_api()
    keys = provider.keys.get()
    try:
        return _still_valid(_verified(token, config, TheSame(keys)))
    except InvalidKeyIdError:
        _peek(token, config)
        keys = provider.keys.renewed()
    try:
        return _still_valid(_verified(token, config, TheSame(keys)))
    except InvalidKeyIdError:
        raise TokenRefused from None


def id_token_claims(text: str, *, nonce: str, access_token: str | None) -> dict[str, Any]:
    """The claims of an ID token that answers our request. Raises SsoInvalid, SsoUnavailable."""
    config = configuration.required()
    provider = provider_of(config.issuer)
    try:
        if len(text) > 4 * LONGEST_TOKEN:
            raise ValueError("the ID token is too long")
        try:
            token = jwt.decode(text, provider.keys.get().set, registry=_registry)
        except InvalidKeyIdError:
            # The provider itself has given us this token, so its key is worth a question.
            keys = provider.keys.renewed(pause=PAUSE_SECONDS)
            token = jwt.decode(text, keys.set, registry=_registry)
        options: Any = {
            "iss": {"essential": True, "value": config.issuer},
            "aud": {"essential": True, "value": config.client_id},
            "sub": {"essential": True},
        }
        params = {"nonce": nonce, "client_id": config.client_id}
        if access_token is not None and token.header["alg"] != "Ed25519":  # no hash is defined
            params["access_token"] = access_token
        claims = CodeIDToken(token.claims, token.header, options, params)
        claims.validate(leeway=LEEWAY_SECONDS)
        _check_subject(claims["sub"])
    except UNREADABLE as error:
        # Not the text of the error, which may have parts of the token.
        logger.warning("single sign-on refused", extra={"why": f"ID token: {type(error).__name__}"})
        raise SsoInvalid from error
    return dict(claims)


class TheSame:
    """Keys that are equal to the same object only: an argument of a cached function."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TheSame) and other.keys is self.keys

    def __hash__(self) -> int:
        return id(self.keys)


@lru_cache(maxsize=1024)
def _verified(token: str, config: Configuration, given: TheSame) -> IssuerClaims:
    """Verify a signature once, because the same token comes with many requests.

    Raises TokenRefused, and InvalidKeyIdError if none of the keys has the token's id.
    """
    if len(token) > LONGEST_TOKEN or not token.isascii():
        raise TokenRefused
    try:
        decoded = jwt.decode(token, given.keys.set, registry=_registry)
        claims = decoded.claims
        _check_is_access_token(decoded.header, claims)
        jwt.JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": config.issuer},
            aud={"essential": True, "value": config.audience or ""},
            exp={"essential": True},
            sub={"essential": True},
        ).validate(claims)
        _check_subject(claims["sub"])
        expires_at = float(claims["exp"]) + LEEWAY_SECONDS
        return persons.claims_of(claims, config, expires_at=expires_at)
    except InvalidKeyIdError:
        raise
    except UNREADABLE:
        raise TokenRefused from None


def _still_valid(claims: IssuerClaims) -> IssuerClaims:
    if claims.expires_at <= time.time():
        raise TokenRefused
    return claims


def _peek(token: str, config: Configuration) -> None:
    """Raise TokenRefused for a token that no key of the issuer could make valid."""
    try:
        unverified = jws.extract_compact(token.encode())
        header, claims = unverified.headers(), json.loads(unverified.payload or b"")
        is_possible = header["alg"] in ALGORITHMS and claims["iss"] == config.issuer
    except UNREADABLE:
        is_possible = False
    if not is_possible:
        raise TokenRefused


def _check_is_access_token(header: dict[str, Any], claims: dict[str, Any]) -> None:
    """Raise ValueError for an ID token or another kind of token."""
    kind = header.get("typ")
    if (kind.lower() if isinstance(kind, str) else kind) not in ACCESS_TYPES:
        raise ValueError("not an access token by its type")
    # Keycloak has the kind of a token in a claim.
    if claims.get("typ", "Bearer") != "Bearer" or any(
        name in claims for name in NOT_OF_ACCESS_TOKENS
    ):
        raise ValueError("not an access token by its claims")


def _check_subject(subject: Any) -> None:
    # OpenID Connect Core, 2: ASCII, at most 255. A database refuses U+0000.
    if not isinstance(subject, str) or not re.fullmatch(r"[\x20-\x7e]{1,255}", subject):
        raise ValueError("not a subject")


def _of_the_api() -> tuple[Configuration, Provider]:
    config = configuration.configuration()
    if config is None or config.audience is None:
        raise TokenRefused
    return config, provider_of(config.issuer)
