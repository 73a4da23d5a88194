"""The commands about users, their keys and the secrets that they have given."""

import sys
from collections.abc import Sequence

from taskyard.server import home
from taskyard.server.commands.running import manage
from taskyard.server.commands.shared import (
    database_errors,
    new_parser,
    require_accounts,
    require_database,
)
from taskyard.server.django_setup import load_django
from taskyard.server.env import ConfigurationError

# Of an invitation, as the page of staff has it.
MOST_DAYS = 365


def createsuperuser(arguments: Sequence[str]) -> int:
    """Make an administrator."""
    require_database()
    return manage(["createsuperuser", *arguments])


def staff(arguments: Sequence[str]) -> int:
    """Show all staff, or the role of one user; or give a user a role."""
    parser = new_parser("staff")
    parser.add_argument("name", nargs="?", help="a user; without it, all staff are listed")
    parser.add_argument("--role", choices=("owner", "viewer", "operator"), help="the new role")
    options = parser.parse_args(arguments)
    if options.role and options.name is None:
        parser.error("--role needs the name of a user")
    require_database()
    load_django()
    from taskyard.core.roles import Role
    from taskyard.server import staff as users

    role = None if options.role is None else Role(options.role)
    with database_errors():
        lines = users.all_staff() if options.name is None else [users.give(options.name, role)]
    for line in lines:
        print(line)
    return 0


def invite(arguments: Sequence[str]) -> int:
    """Make an invitation to register, and print its link."""
    parser = new_parser("invite")
    parser.add_argument("--days", type=int, default=7, help="how long it is valid: 1 to 365")
    parser.add_argument("--email", default="", help="also send it to this address by mail")
    options = parser.parse_args(arguments)
    if not 1 <= options.days <= MOST_DAYS:
        parser.error(f"--days: from 1 to {MOST_DAYS}")
    require_database()
    load_django()
    require_accounts()
    from taskyard.server import account_commands

    with database_errors():
        return account_commands.invite(days=options.days, email=options.email)


def change_password(arguments: Sequence[str]) -> int:
    """Set a user's password; it is read from the terminal, or from standard input."""
    parser = new_parser("change-password")
    parser.add_argument("name", help="the username")
    options = parser.parse_args(arguments)
    require_database()
    load_django()
    require_accounts()
    from taskyard.server import account_commands

    with database_errors():
        return account_commands.change_password(options.name)


def service_account(arguments: Sequence[str]) -> int:
    """Make a service account, or another key for one; print the key this once."""
    from taskyard.accounts.scopes import Scope

    parser = new_parser("service-account")
    parser.add_argument("name", help="letters, digits and @.+-_")
    parser.add_argument(
        "--key",
        nargs="+",
        choices=[scope.value for scope in Scope],
        metavar="SCOPE",
        help=f"also make a key with these scopes: {', '.join(Scope)}",
    )
    parser.add_argument("--key-name", default="taskyard service-account", help="how it is listed")
    options = parser.parse_args(arguments)
    require_database()
    load_django()
    require_accounts()
    from taskyard.server import service_accounts

    with database_errors():
        made = service_accounts.make(options.name, options.key or [], key_name=options.key_name)
    state = "has been made" if made.is_new else "is there already"
    # The key alone goes to standard output, so that a script can take it.
    print(f"{made.name}: the service account {state}", file=sys.stderr)
    if made.key is not None:
        print(made.key)
    return 0


def encryption_key(arguments: Sequence[str]) -> int:
    """Print a new key for TASKYARD_ENCRYPTION_KEYS."""
    new_parser("encryption-key").parse_args(arguments)
    print(home.new_encryption_key())
    return 0


def rotate_secrets(arguments: Sequence[str]) -> int:
    """Encrypt the secrets in stored inputs again; 1 if a key is missing."""
    new_parser("rotate-secrets").parse_args(arguments)
    require_database()
    load_django()
    from taskyard.core import encryption, rotation

    if not (encryption.keys() and encryption.is_installed()):
        raise ConfigurationError(
            "there is no key: set TASKYARD_ENCRYPTION_KEYS, and install taskyard[secrets]"
        )
    with database_errors():
        counts = rotation.rotate()
    print(f"encrypted again: {counts.again:,}; were in clear: {counts.were_clear:,}")
    for key, count in counts.unreadable.items():
        print(f"key {key or '?'}: {count:,} secrets cannot be decrypted with it", file=sys.stderr)
    for key, count in counts.others.items():
        print(f"key {key or '-'}: {count:,} secrets are left; run this again", file=sys.stderr)
    if counts.unreadable or counts.others:
        return 1
    former = ", ".join(key.id for key in encryption.keys()[1:])
    print(f"all are under the key {encryption.keys()[0].id}")
    if former:
        print(f"no longer needed, once no process encrypts with them: {former}")
    return 0
