"""The fixtures of the API's tests: accounts are asked the same way."""

from tests.api.conftest import api, as_user, new_user, no_throttles, nobody, user

__all__ = ["api", "as_user", "new_user", "no_throttles", "nobody", "user"]
