"""A browser's side of Django's client: cookies, forms, pages as text."""

from tests.api.conftest import as_user, hand, new_user, no_throttles, other  # noqa: F401
