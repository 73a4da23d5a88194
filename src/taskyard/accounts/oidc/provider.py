"""The provider: its metadata and its keys, kept in this process."""

from functools import cache
from typing import Any

from authlib.oidc.discovery import get_well_known_url
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, KeySet

from taskyard.accounts.oidc.http import BadAnswer, get_object, is_allowed
from taskyard.accounts.oidc.kept import Kept

ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
OPTIONAL_ENDPOINTS = ("userinfo_endpoint", "device_authorization_endpoint")
MOST_KEYS = 50
# Not oct: a shared secret verifies nothing here.
KEY_TYPES = ("RSA", "EC", "OKP")


class Provider:
    """One issuer."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.metadata: Kept[dict[str, Any]] = Kept("metadata", self._fetch_metadata)
        self.keys: Kept[Keys] = Kept("keys", self._fetch_keys)

    def _fetch_metadata(self) -> dict[str, Any]:
        metadata = get_object(get_well_known_url(self.issuer, external=True))
        if metadata.get("issuer") != self.issuer:
            raise BadAnswer(f"the provider calls itself {str(metadata.get('issuer'))[:200]!r}")
        for name in ENDPOINTS:
            if not is_allowed(metadata.get(name), self.issuer):
                raise BadAnswer(f"the provider's {name} is missing or has no HTTPS")
        for name in OPTIONAL_ENDPOINTS:
            if name in metadata and not is_allowed(metadata[name], self.issuer):
                raise BadAnswer(f"the provider's {name} has no HTTPS")
        return metadata

    def _fetch_keys(self) -> "Keys":
        return Keys(get_object(self.metadata.get()["jwks_uri"]))


class Keys:
    """The public keys of a provider. Equal if their documents are."""

    def __init__(self, document: dict[str, Any]) -> None:
        """Raises BadAnswer for a document without a usable key."""
        given = document.get("keys")
        usable = []
        for data in given[:MOST_KEYS] if isinstance(given, list) else ():
            try:
                if data["kty"] in KEY_TYPES:
                    usable.append(JWKRegistry.import_key(data))
            # A key that we cannot read is no reason to refuse the others.
            except (JoseError, ValueError, TypeError, KeyError):
                continue
        if not usable:
            raise BadAnswer("the provider has no key that we can use")
        self._document = document
        self.set = KeySet(usable)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keys) and other._document == self._document

    def __hash__(self) -> int:
        return id(self)


@cache
def provider_of(issuer: str) -> Provider:
    return Provider(issuer)
