"""Map a person of the issuer to a user: by issuer and subject, never by a name.

A person who is new here gets a new user without a password. An account that has the same name or
e-mail address is another user, because a person who can choose a name at the provider could take
the account over otherwise.
"""

import logging
import re
import secrets
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from django.contrib.auth.hashers import make_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from taskyard.accounts import profile, roles, usernames
from taskyard.accounts.claims import IssuerClaims
from taskyard.accounts.errors import SsoSuspended, TokenRefused
from taskyard.accounts.models import OidcIdentity, User
from taskyard.accounts.oidc.configuration import Configuration
from taskyard.core import audit, lifecycle
from taskyard.core.roles import Role

logger = logging.getLogger(__name__)
# The roles that groups give; "" is none.
STAFF, VIEWER, NO_ROLE = "staff", "viewer", ""
ROLES = {STAFF: Role.OPERATOR, VIEWER: Role.VIEWER, NO_ROLE: Role.OWNER}
# Of users with one name, told apart by a number.
MOST_NAMESAKES = 50


def claims_of(
    claims: Mapping[str, Any], config: Configuration, *, expires_at: float
) -> IssuerClaims:
    """What verified claims say about a person. Raises KeyError."""
    return IssuerClaims(
        issuer=config.issuer,
        subject=claims["sub"],
        expires_at=expires_at,
        role=_role_of(claims, config),
        username=_text(claims, "preferred_username"),
        email=_email(claims),
        first_name=_text(claims, "given_name")[: profile.LONGEST["first_name"]],
        last_name=_text(claims, "family_name")[: profile.LONGEST["last_name"]],
    )


def load_user(claims: IssuerClaims) -> User:
    """The active user of a person, in one query; made at first sight. Raises TokenRefused.

    A token of before may still be valid when the provider has withdrawn a role, so it lowers the
    role of a known person and never raises it.
    """
    identity = _identity(claims)
    user = identity.user
    if not user.is_active:
        raise TokenRefused
    if _lowers(claims.role, identity):
        _lower_role(identity, claims.role)
    return identity.user


def sign_in(claims: IssuerClaims, *, address: str) -> User:
    """The user who signs in on the page, with the role of the groups. Raises SsoSuspended."""
    identity = _identity(claims)
    user = identity.user
    if not user.is_active:
        raise SsoSuspended
    if claims.role is not None:
        _set_role(identity, claims.role)
    audit.write("log_in", by_id=user.pk, by_name=user.username, address=address)
    return user


def _identity(claims: IssuerClaims) -> OidcIdentity:
    return _found(claims) or _made(claims)


def _found(claims: IssuerClaims) -> OidcIdentity | None:
    identities = OidcIdentity.objects.select_related("user")
    try:
        return identities.get(issuer=claims.issuer, subject=claims.subject)
    except OidcIdentity.DoesNotExist:
        return None


def _made(claims: IssuerClaims) -> OidcIdentity:
    for name in _names(claims):
        if User.objects.filter(username_key=usernames.name_key(name)).exists():
            continue
        user = User(
            username=name,
            password=make_password(None),
            email=claims.email,
            first_name=claims.first_name,
            last_name=claims.last_name,
        )
        try:
            with transaction.atomic():
                user.save(force_insert=True)
                identity = OidcIdentity.objects.create(
                    user=user, issuer=claims.issuer, subject=claims.subject
                )
                lifecycle.open_quota(user.pk)
                audit.write("sso_registered", user.username, by_id=user.pk, by_name=user.username)
                if claims.role:
                    _set_role(identity, claims.role)
        except IntegrityError:
            # Another request has made the same person, or taken the name.
            if found := _found(claims):
                return found
            continue
        logger.info("user made by single sign-on", extra={"user": user.pk})
        return identity
    raise RuntimeError("no free name")  # the last is random


def _names(claims: IssuerClaims) -> Iterator[str]:
    """Valid names for a new user, the best first."""
    wanted = claims.username or claims.email.partition("@")[0]
    name = usernames.normalize(wanted[: usernames.LONGEST])
    name = "".join("-" if letter in usernames.INVISIBLE_LETTERS else letter for letter in name)
    name = re.sub(r"[^\w.@+-]+", "-", name).strip("-")[: usernames.LONGEST - 10] or "user"
    yield name
    for number in range(2, MOST_NAMESAKES):
        yield f"{name}-{number}"
    yield f"{name[:100]}-{secrets.token_hex(8)}"


def _role_of(claims: Mapping[str, Any], config: Configuration) -> str | None:
    """The role that the groups give; None if nothing is said about groups."""
    if not config.has_roles or config.groups_claim not in claims:
        return None
    given = claims[config.groups_claim]
    groups = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    if config.staff_group is not None and config.staff_group in groups:
        return STAFF
    if config.viewer_group is not None and config.viewer_group in groups:
        return VIEWER
    return NO_ROLE


def _lowers(role: str | None, identity: OidcIdentity) -> TypeGuard[str]:
    """Whether this role of a token is below that of the person; without a query."""
    user = identity.user
    if role is None or user.is_superuser:
        return False
    if role == NO_ROLE:
        return identity.role != NO_ROLE or user.is_staff
    return role == VIEWER and user.is_staff


def _lower_role(identity: OidcIdentity, role: str) -> None:
    """Raises TokenRefused if the user is gone."""
    with transaction.atomic():
        # A sign-in may have changed the role since.
        users = User.objects.select_for_update(no_key=True).filter(pk=identity.user_id)
        user = users.first()
        if user is None:
            raise TokenRefused
        identity.user = user
        if _lowers(role, identity):
            _set_role(identity, role)


def _set_role(identity: OidcIdentity, role: str) -> None:
    """Give or take the role of a group. A superuser was made here and keeps all rights."""
    with transaction.atomic():
        roles.set_role(identity.user, ROLES[role], reason="single sign-on")
        if identity.role != role:
            OidcIdentity.objects.filter(pk=identity.pk).update(role=role)
            identity.role = role


def _text(claims: Mapping[str, Any], name: str) -> str:
    given = claims.get(name)
    if not isinstance(given, str):
        return ""
    kept = (letter for letter in given[:1000] if unicodedata.category(letter)[0] != "C")
    return "".join(kept).strip()


def _email(claims: Mapping[str, Any]) -> str:
    """The address, unless the provider says that it is not verified."""
    email = _text(claims, "email")
    if claims.get("email_verified") is False or len(email) > profile.LONGEST["email"]:
        return ""
    try:
        validate_email(email)
    except ValidationError:
        return ""
    return email
