"""The fixtures of the API's tests also serve the tests of accounts."""

from tests.api.conftest import api, as_user, new_user, no_throttles, nobody, other, user

__all__ = ["api", "as_user", "new_user", "no_throttles", "nobody", "other", "user"]
