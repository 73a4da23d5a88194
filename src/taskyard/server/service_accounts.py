"""What `taskyard service-account` makes."""

from collections.abc import Sequence
from typing import NamedTuple

from django.core.exceptions import ValidationError
from pydantic import ValidationError as InvalidKey

from taskyard.accounts import keys, service_accounts
from taskyard.accounts.errors import TooManyKeys
from taskyard.accounts.models import ServiceAccount
from taskyard.accounts.new_key import NewKey
from taskyard.accounts.usernames import name_key
from taskyard.server.env import ConfigurationError


class Made(NamedTuple):
    """The account's name, whether it is new, and the text of a new key if one was wanted."""

    name: str
    is_new: bool
    key: str | None


def make(name: str, scopes: Sequence[str], *, key_name: str) -> Made:
    """Make the account unless it is there, and a key if there are scopes.

    Raises ConfigurationError for a name that is taken or not allowed, and for a key that cannot be.
    """
    found = ServiceAccount.objects.filter(user__username_key=name_key(name))
    account = found.select_related("user").first()
    is_new = account is None
    if account is None:
        try:
            account = service_accounts.create(name)
        except ValidationError as error:
            raise ConfigurationError(f"{name}: {' '.join(error.messages)}") from None
    key = _new_key(account, scopes, key_name) if scopes else None
    return Made(account.user.username, is_new, key)


def _new_key(account: ServiceAccount, scopes: Sequence[str], name: str) -> str:
    try:
        new = NewKey.model_validate({"name": name, "scopes": list(scopes)})
        return keys.create(account.user, new)[1]
    except InvalidKey as error:
        raise ConfigurationError(f"--key-name: {error.errors()[0]['msg']}") from None
    except TooManyKeys as error:
        raise ConfigurationError(f"the account has {error.params['limit']} keys already") from None
