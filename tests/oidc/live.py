"""A live Taskyard and the provider where its users sign in."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.conftest import USUAL, start_live
from tests.live_system import Live
from tests.oidc.provider import Provider


@contextmanager
def with_provider(directory: Path, **environment: str) -> Iterator[tuple[Live, Provider]]:
    with ExitStack() as stack:
        provider = Provider("", directory)
        given = {**USUAL, **provider.environment, **environment}
        live = start_live(stack, directory, given)
        provider.redirect_uri = f"{live.url}/sso/callback/"
        yield live, stack.enter_context(provider)
