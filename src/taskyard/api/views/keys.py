"""Views of the own API keys, for projects with our accounts. No key may use them."""

from typing import Any, cast

from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from taskyard.accounts import keys, rate_limit
from taskyard.accounts.models import ApiKey, User
from taskyard.accounts.new_key import NewKey
from taskyard.api import schemas
from taskyard.api.intake import parse
from taskyard.api.json import ACCOUNT_LIMIT
from taskyard.api.openapi import documented
from taskyard.api.serialize import isoformat_utc
from taskyard.api.views.accounts import UNCACHED
from taskyard.api.views.base import ApiView, user_of
from taskyard.core.types import LARGEST_ID


class Keys(ApiView):
    body_limit = ACCOUNT_LIMIT

    @documented("List the own API keys", None, {200: schemas.KeysAnswer}, operation_id="keys_list")
    def get(self, request: Request) -> Response:
        """Lists the keys that were not revoked, the oldest first. The keys themselves are never
        shown again."""
        return Response([_serialize(key) for key in keys.of_user(_user(request))])

    @documented("Make an API key", NewKey, {201: schemas.NewKeyAnswer}, (400, 409, 429))
    def post(self, request: Request) -> Response:
        """Makes a key, which goes into the Authorization header like a token. `key` is shown this
        once. A key cannot be changed later."""
        new, user = parse(NewKey, request.data), _user(request)
        rate_limit.count_key(user.pk)
        key, text = keys.create(user, new)
        return Response({**_serialize(key), "key": text}, 201, headers=UNCACHED)


class Key(ApiView):
    @documented("Revoke an API key", None, {204: None}, (404,))
    def delete(self, request: Request, key_id: str) -> Response:
        """From now on the key is refused. Streams that it has opened end within a minute."""
        if int(key_id) > LARGEST_ID or not keys.revoke(_user(request), int(key_id)):
            raise NotFound
        return Response(status=204)


def _user(request: Request) -> User:
    """The authenticated user. Only TokenAuthentication is used, so it is ours."""
    return cast("User", user_of(request))


def _serialize(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.pk,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes,
        "task_types": key.task_types,
        "created_at": isoformat_utc(key.created_at),
        "expires_at": key.expires_at and isoformat_utc(key.expires_at),
        "last_used_at": key.last_used_at and isoformat_utc(key.last_used_at),
    }
