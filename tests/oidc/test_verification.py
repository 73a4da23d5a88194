"""Access tokens of the issuer, signed with real keys: which are believed."""

import base64
import hmac
import json
import time
from typing import Any

import pytest

from taskyard.accounts import credentials, tokens
from taskyard.accounts.claims import IssuerClaims, TokenClaims
from taskyard.accounts.errors import SsoUnavailable, TokenRefused
from taskyard.accounts.oidc import provider as providers
from taskyard.accounts.oidc import verification
from taskyard.accounts.oidc.http import LONGEST_ANSWER
from tests.oidc.issuer import JWKS, WELL_KNOWN, Issuer, new_key, public, unsigned
from tests.oidc.provider import PAGE, PROGRAM


def claims_of(token: str) -> IssuerClaims:
    user = credentials.authenticate(f"Bearer {token}")
    assert user is not None
    assert isinstance(user.claim, IssuerClaims)
    return user.claim


def refused(token: str) -> bool:
    try:
        credentials.authenticate(f"Bearer {token}")
    except TokenRefused:
        return True
    return False


def altered(token: str) -> str:
    """The token with another subject and the old signature."""
    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    other = json.dumps({**claims, "sub": "root"}).encode()
    return f"{header}.{base64.urlsafe_b64encode(other).decode().rstrip('=')}.{signature}"


def hmac_token(header: dict[str, Any], payload: bytes, secret: bytes) -> str:
    parts = [json.dumps(header, separators=(",", ":")).encode(), payload]
    signed = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    signature = hmac.digest(secret, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def test_a_token_of_the_issuer_names_a_person(trusted: Issuer) -> None:
    claims = claims_of(
        trusted.sign(
            preferred_username="ann", email="ann@example.org", groups=["a", "taskyard-staff"]
        )
    )
    assert (claims.issuer, claims.subject) == (trusted.url, "ann-1")
    assert (claims.username, claims.email, claims.role) == ("ann", "ann@example.org", "staff")


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["taskyard-staff"], "staff"),
        ("taskyard-staff", "staff"),
        (["other"], ""),
        ([], ""),
        (None, None),
        ({"taskyard-staff": 1}, ""),
        ([["taskyard-staff"]], ""),
    ],
)
def test_groups_give_a_role_or_take_it_or_say_nothing(
    trusted: Issuer, groups: Any, role: str | None
) -> None:
    assert claims_of(trusted.sign(groups=groups)).role == role


@pytest.mark.parametrize(
    ("kind", "algorithm"),
    [("RSA", "RS512"), ("RSA", "PS256"), ("EC", "ES256"), ("OKP", "Ed25519")],
)
def test_asymmetric_algorithms_are_believed(trusted: Issuer, kind: str, algorithm: str) -> None:
    trusted.key = new_key("other", kind)
    trusted.published = [trusted.key]
    assert claims_of(trusted.sign(header={"alg": algorithm})).subject == "ann-1"


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "AT+JWT", "JWT", None])
def test_types_of_access_tokens(trusted: Issuer, typ: str | None) -> None:
    assert claims_of(trusted.sign(header={"typ": typ})).subject == "ann-1"


@pytest.mark.parametrize(
    ("flaw", "changes"),
    [
        ("another issuer", {"iss": "https://evil.example"}),
        ("no issuer", {"iss": None}),
        ("another audience", {"aud": "https://other.example"}),
        ("an ID token of the page", {"aud": PAGE}),
        ("an ID token of the command line", {"aud": PROGRAM}),
        ("an ID token for several", {"nonce": "n"}),
        ("an ID token by its hash", {"at_hash": "h"}),
        ("an ID token of Keycloak", {"typ": "ID"}),
        ("a refresh token of Keycloak", {"typ": "Refresh"}),
        ("a logout token", {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
        ("no audience", {"aud": None}),
        ("an odd audience", {"aud": {"a": 1}}),
        ("expired", {"exp": int(time.time()) - 3600}),
        ("endless", {"exp": None}),
        ("odd expiry", {"exp": "tomorrow"}),
        ("expiry beyond all times", {"exp": 10**400}),
        ("of the future", {"iat": int(time.time()) + 3600}),
        ("not valid yet", {"nbf": int(time.time()) + 3600}),
        ("no subject", {"sub": None}),
        ("an odd subject", {"sub": ["ann-1"]}),
        ("an empty subject", {"sub": ""}),
        ("a subject that a database refuses", {"sub": "ann\0"}),
        ("a long subject", {"sub": "x" * 256}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_token_with_a_flaw_is_refused(
    trusted: Issuer, flaw: str, changes: dict[str, Any]
) -> None:
    assert refused(trusted.sign(**changes))


@pytest.mark.parametrize("typ", ["logout+jwt", "id_token", "dpop+jwt", 7])
def test_another_type_is_refused(trusted: Issuer, typ: Any) -> None:
    token = trusted.sign()
    header = {"alg": "RS256", "typ": typ, "kid": trusted.key.kid}
    if isinstance(typ, str):
        token = trusted.sign(header=header)
    else:
        encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
        token = ".".join([encoded, *token.split(".")[1:]])
    assert refused(token)


@pytest.mark.parametrize("seconds", [-25, 25])
def test_clocks_may_differ_by_thirty_seconds(trusted: Issuer, seconds: int) -> None:
    now = int(time.time())
    if seconds < 0:
        assert claims_of(trusted.sign(exp=now + seconds)).subject == "ann-1"
    else:
        later = {"iat": now + seconds, "nbf": now + seconds, "exp": now + 600}
        assert claims_of(trusted.sign(**later)).subject == "ann-1"


def test_algorithms_cannot_be_confused(trusted: Issuer) -> None:
    payload = json.dumps({"iss": trusted.url, "sub": "root", "exp": time.time() + 600}).encode()
    assert refused(unsigned({"kid": "first"}, payload))
    # The public key is no secret: HS256 with it, as PEM or as JSON, with either header.
    for secret in (trusted.key.as_pem(private=False), json.dumps(public(trusted.key)).encode()):
        for header in (
            {"alg": "HS256", "kid": "first"},
            {"alg": "HS256", "typ": "JWT"},
            {"typ": "JWT", "alg": "HS256"},
        ):
            assert refused(hmac_token(header, payload, secret))
    # A symmetric key in the issuer's own document is none.
    trusted.published.append(new_key("shared", "oct"))
    assert refused(trusted.sign(trusted.published[-1], {"alg": "HS256"}))
    # A key for another algorithm.
    assert refused(trusted.sign(new_key("first", "EC"), {"alg": "ES256"}))


def test_a_wrong_key_and_an_altered_token_are_refused(trusted: Issuer) -> None:
    assert refused(trusted.sign(new_key("first")))
    assert refused(altered(trusted.sign()))
    assert refused(trusted.sign()[:-6] + "AAAAAA")
    # A key in the header is not asked.
    other = new_key("first")
    assert refused(trusted.sign(other, {"jwk": public(other)}))
    assert refused(trusted.sign(other, {"jku": f"{trusted.url}/evil", "x5u": "https://evil"}))
    assert "/evil" not in trusted.asked


@pytest.mark.parametrize(
    "text",
    [
        "x", "a.b.c", "..", "a.b.c.d.e", "x" * 20_000, "é.é.é", "eyJhbGciOiJSUzI1NiJ9..",
        "eyJhbGciOiJSUzI1NiJ9.bnVsbA.AA", "bnVsbA.bnVsbA.bnVsbA", "W10.W10.W10", "=.=.=",
        "eyJhbGciOlsxXX0.e30.AA", "eyJhbGciOiJSUzI1NiIsImtpZCI6WzFdfQ.e30.AA",
        "eyJhbGciOiJSUzI1NiIsImNyaXQiOlsieCJdfQ.e30.AA",
    ],
)  # fmt: skip
def test_what_is_no_token_is_refused_without_a_question(trusted: Issuer, text: str) -> None:
    claims_of(trusted.sign())
    trusted.asked.clear()
    assert refused(text)
    assert trusted.asked == []


def test_a_token_is_refused_where_single_sign_on_is_off(issuer: Issuer, settings: Any) -> None:
    assert refused(issuer.sign())
    settings.TASKYARD_OIDC = issuer.configuration(audience=None)
    assert refused(issuer.sign())
    assert issuer.asked == []


def test_our_own_tokens_ask_nothing_of_the_issuer(trusted: Issuer) -> None:
    token = tokens.AccessToken()
    token["user_id"], token["fpr"] = "1", "x"
    assert str(token).startswith(credentials.OUR_HEADER)
    user = credentials.authenticate(f"Bearer {token}")
    assert user is not None
    assert isinstance(user.claim, TokenClaims)
    assert trusted.asked == []


def test_a_signature_is_verified_once(trusted: Issuer) -> None:
    token = trusted.sign()
    assert claims_of(token) is claims_of(token)
    assert trusted.asked == [JWKS, WELL_KNOWN] or trusted.asked == [WELL_KNOWN, JWKS]


def test_a_new_key_is_fetched_when_a_token_names_it(trusted: Issuer, clock: "Clock") -> None:
    claims_of(trusted.sign())
    trusted.key = new_key("second")
    trusted.published = [trusted.key]
    # A token of another issuer, or one with an unknown key, is no reason to ask.
    for flaw in ({"iss": "https://evil.example"}, {}):
        assert refused(trusted.sign(new_key("none"), None if flaw else {"alg": "RS256"}, **flaw))
        clock.now += 1
    assert trusted.asked.count(JWKS) == 1
    clock.now += 10
    assert claims_of(trusted.sign()).subject == "ann-1"
    assert trusted.asked.count(JWKS) == 2


def test_a_withdrawn_key_is_not_believed_any_more(trusted: Issuer, clock: "Clock") -> None:
    token = trusted.sign()
    claims_of(token)
    withdrawn, trusted.key = trusted.key, new_key("second")
    trusted.published = [trusted.key]
    clock.now += 10
    claims_of(trusted.sign())
    assert refused(token)
    assert refused(trusted.sign(withdrawn))


def test_unknown_keys_are_asked_for_at_most_every_ten_seconds(
    trusted: Issuer, clock: "Clock"
) -> None:
    claims_of(trusted.sign())
    for number in range(30):
        clock.now += 1
        assert refused(trusted.sign(trusted.key, {"kid": f"made-up-{number}"}))
    assert trusted.asked.count(JWKS) == 1 + 3


def test_the_keys_serve_for_an_hour_without_the_issuer(trusted: Issuer, clock: "Clock") -> None:
    token = trusted.sign()
    claims_of(token)
    trusted.answers = {JWKS: (503, b""), WELL_KNOWN: (503, b"")}
    clock.now += 3599
    assert claims_of(token).subject == "ann-1"
    assert claims_of(trusted.sign(sub="bob-1")).subject == "bob-1"
    with pytest.raises(SsoUnavailable):  # the key may be a new one
        claims_of(trusted.sign(new_key("second")))
    clock.now += 1
    with pytest.raises(SsoUnavailable):
        claims_of(token)


def test_an_event_loop_never_asks_the_issuer(trusted: Issuer) -> None:
    authorization = f"Bearer {trusted.sign()}"
    assert credentials.recall(authorization) is None
    assert credentials.needs_thread(authorization)
    assert not credentials.needs_thread(f"Bearer {credentials.OUR_HEADER}e30.x")
    assert trusted.asked == []


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        (JWKS, (200, b"{")),
        (JWKS, (200, b"[]")),
        (JWKS, (200, b'{"keys": []}')),
        (JWKS, (200, b'{"keys": [{"kty": "RSA"}, 7, {}]}')),
        (JWKS, (200, b" " * LONGEST_ANSWER + b"{}")),
        (JWKS, (302, b"")),
        (JWKS, (404, b"")),
        (WELL_KNOWN, (200, b"null")),
        (WELL_KNOWN, (500, b"")),
        (WELL_KNOWN, (200, b'{"issuer": "https://evil.example"}')),
    ],
)
def test_a_bad_answer_of_the_issuer_is_an_outage(
    trusted: Issuer, path: str, answer: tuple[int, bytes]
) -> None:
    trusted.answers[path] = answer
    with pytest.raises(SsoUnavailable):
        claims_of(trusted.sign())


@pytest.mark.parametrize(
    "metadata",
    [
        {"jwks_uri": "http://evil.example/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "https://user@evil.example/jwks"},
        {"jwks_uri": "https://"},
        {"jwks_uri": "https://[/"},
        {"jwks_uri": 7},
        {"token_endpoint": "http://evil.example/"},
        {"token_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"userinfo_endpoint": "http://169.254.169.254/"},
    ],
)
def test_addresses_without_https_are_not_called(trusted: Issuer, metadata: dict[str, Any]) -> None:
    trusted.metadata = metadata
    with pytest.raises(SsoUnavailable):
        claims_of(trusted.sign())
    assert JWKS not in trusted.asked


class Clock:
    """A clock for what is kept of the issuer."""

    def __init__(self) -> None:
        self.now = 1000.0


@pytest.fixture
def clock(trusted: Issuer) -> Clock:
    clock = Clock()
    provider = providers.provider_of(trusted.url)
    for kept in (provider.keys, provider.metadata):
        kept._clock = lambda: clock.now
    return clock


def test_a_token_ends_while_its_verification_is_remembered(trusted: Issuer) -> None:
    token = trusted.sign(exp=int(time.time()) - verification.LEEWAY_SECONDS + 4)
    assert claims_of(token).subject == "ann-1"
    deadline = time.monotonic() + 10
    while not refused(token):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_keys_that_are_renewed_while_a_token_is_verified_keep_it_not(
    trusted: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the withdrawn keys verified in the last moment is not taken for a result of the new."""
    kept = providers.provider_of(trusted.url).keys
    token, read = trusted.sign(), kept.get

    def read_and_renew() -> Any:
        keys = read()
        trusted.published = [new_key("second")]
        kept._tried_at = float("-inf")
        kept.renewed()
        return keys

    monkeypatch.setattr(kept, "get", read_and_renew)
    claims_of(token)
    monkeypatch.undo()
    assert refused(token)
