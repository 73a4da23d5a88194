"""An issuer without people: it signs what a test asks for, with real keys, and shows its keys."""

import base64
import json
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from tests.local_server import LocalServer
from tests.oidc.provider import AUDIENCE, PAGE, PROGRAM

JWKS, WELL_KNOWN = "/jwks", "/.well-known/openid-configuration"


class Issuer(LocalServer):
    """`with Issuer() as issuer`: it runs at ``issuer.url`` in the block.

    ``asked`` are the paths of all requests. It answers ``answers`` in place of its own documents.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.key = new_key("first")
        self.published: list[Any] = [self.key]
        self.metadata: dict[str, Any] = {}
        super().__init__(self._handler())

    def configuration(self, **changes: Any) -> dict[str, Any]:
        """The setting TASKYARD_OIDC for it."""
        return {
            "issuer": self.url,
            "client_id": PAGE,
            "client_secret": "secret",
            "audience": AUDIENCE,
            "name": "Example",
            "scope": "openid profile email",
            "groups_claim": "groups",
            "staff_group": "taskyard-staff",
            "viewer_group": None,
            "cli_client_id": PROGRAM,
            "cli_scope": "openid",
            "session_seconds": 3600,
            **changes,
        }

    def sign(self, key: Any = None, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """An access token as RFC 9068 has it. A change to None leaves a claim out."""
        now = int(time.time())
        claims = {
            "iss": self.url,
            "sub": "ann-1",
            "aud": AUDIENCE,
            "client_id": PROGRAM,
            "iat": now,
            "exp": now + 600,
            "jti": "1",
            **changes,
        }
        key = key or self.key
        header = {"alg": "RS256", "typ": "at+jwt", "kid": key.kid, **(header or {})}
        kept = {name: value for name, value in claims.items() if value is not None}
        named = {name: value for name, value in header.items() if value is not None}
        return jwt.encode(named, kept, key, algorithms=[named["alg"]], default_type=None)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                status, body = issuer.answers.get(self.path) or (200, issuer.document(self.path))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        return Handler

    def document(self, path: str) -> bytes:
        if path == JWKS:
            return json.dumps({"keys": [public(key) for key in self.published]}).encode()
        documents = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}{JWKS}",
            "device_authorization_endpoint": f"{self.url}/device",
            **self.metadata,
        }
        return json.dumps(documents).encode()


def new_key(kid: str, kind: str = "RSA") -> Any:
    """A key of 2048 bits, of the curve P-256, or Ed25519."""
    kinds: dict[str, Any] = {
        "RSA": lambda: RSAKey.generate_key(2048, {"kid": kid}),
        "EC": lambda: ECKey.generate_key("P-256", {"kid": kid}),
        "OKP": lambda: OKPKey.generate_key("Ed25519", {"kid": kid}),
        "oct": lambda: OctKey.generate_key(256, {"kid": kid}),
    }
    return kinds[kind]()


def public(key: Any) -> dict[str, Any]:
    return dict(key.as_dict(private=isinstance(key, OctKey), kid=key.kid))


def unsigned(header: dict[str, Any], payload: bytes) -> str:
    """A token whose signature is none."""
    parts = [json.dumps({"alg": "none", **header}).encode(), payload, b""]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
