"""Users of the project of the run: our own, or the host project (tests/conftest.py)."""

from typing import Any

from django.contrib.auth import get_user_model

from tests.api_client import IN_HOST


def user_name(name: str) -> str:
    """The name of a user in this project; in the host project it is an e-mail address."""
    return f"{name}@example.com" if get_user_model().USERNAME_FIELD == "email" else name


def new_user(name: str) -> Any:
    return get_user_model()._default_manager.create_user(user_name(name))


def access_of(user: Any) -> str:
    """An access token, as the project of the run issues it."""
    if IN_HOST:
        from rest_framework.authtoken.models import Token

        return str(Token.objects.get_or_create(user=user)[0].key)
    from taskyard.accounts import tokens

    return tokens.issue(user).access
