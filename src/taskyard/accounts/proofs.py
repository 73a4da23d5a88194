"""The conditions under which a token or an API key is good, as SQL for the database in use."""

from functools import cache

from django.contrib.auth import get_user_model
from django.db import connection

from taskyard.core.proofs import Proof

# The owner is active and has this password.
PASSWORD = {
    "postgresql": """EXISTS (
          SELECT FROM {users} WHERE id = %(owner)s AND is_active AND %(proof)s::text
              = left(encode(sha256(convert_to(password, 'UTF8')), 'hex'), 32))""",
    "sqlite": """EXISTS (
      SELECT 1 FROM {users} WHERE id = %(owner)s AND is_active
        AND %(proof)s = substr(sha256(password), 1, 32))""",
}

# The owner is active, and has a key with this digest that has not expired.
KEY = {
    "postgresql": """EXISTS (
          SELECT FROM taskyard_accounts_apikey k JOIN {users} u ON u.id = k.user_id
          WHERE k.digest = %(proof)s::text AND k.user_id = %(owner)s AND u.is_active
              AND (k.expires_at IS NULL OR k.expires_at > now()))""",
    "sqlite": """EXISTS (
      SELECT 1 FROM taskyard_accounts_apikey k JOIN {users} u ON u.id = k.user_id
      WHERE k.digest = %(proof)s AND k.user_id = %(owner)s AND u.is_active
        AND (k.expires_at IS NULL OR julianday(k.expires_at) > julianday('now')))""",
}

# The owner is the subject of this name, of the account with a key with this digest; all of them are
# active. The digest has 64 characters, and the name comes after a space.
SUBJECT = {
    "postgresql": """EXISTS (
          SELECT FROM taskyard_accounts_subject s
          JOIN taskyard_accounts_apikey k ON k.user_id = s.account_id
          JOIN {users} a ON a.id = s.account_id JOIN {users} u ON u.id = s.user_id
          WHERE s.user_id = %(owner)s AND s.name = substr(%(proof)s::text, 66)
              AND k.digest = left(%(proof)s::text, 64) AND a.is_active AND u.is_active
              AND (k.expires_at IS NULL OR k.expires_at > now()))""",
    "sqlite": """EXISTS (
      SELECT 1 FROM taskyard_accounts_subject s
      JOIN taskyard_accounts_apikey k ON k.user_id = s.account_id
      JOIN {users} a ON a.id = s.account_id JOIN {users} u ON u.id = s.user_id
      WHERE s.user_id = %(owner)s AND s.name = substr(%(proof)s, 66)
        AND k.digest = substr(%(proof)s, 1, 64) AND a.is_active AND u.is_active
        AND (k.expires_at IS NULL OR julianday(k.expires_at) > julianday('now')))""",
}


def of_password(fingerprint: str) -> Proof:
    """Prove that the owner is active and has the password with this fingerprint."""
    return Proof(_conditions()[0], fingerprint)


def of_key(digest: str) -> Proof:
    """Prove that the owner is active and has the key with this digest, unless it has expired."""
    return Proof(_conditions()[1], digest)


def of_subject(digest: str, name: str) -> Proof:
    """The owner is the active subject of this name, and its account has this key."""
    return Proof(_conditions()[2], f"{digest} {name}")


@cache
def _conditions() -> tuple[str, str, str]:
    users = get_user_model()._meta.db_table
    vendor = connection.vendor
    of_vendor = (conditions[vendor] for conditions in (PASSWORD, KEY, SUBJECT))
    of_password, of_key, of_subject = (condition.format(users=users) for condition in of_vendor)
    return of_password, of_key, of_subject
