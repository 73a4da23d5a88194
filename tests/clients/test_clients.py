"""Generated clients compile, submit, read and list; `make clients` tries the slow ones too."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients import generated
from tests.contract.client import User
from tests.live_system import Live

pytestmark = pytest.mark.servers
ASKED = generated.EVERY if generated.ALL else generated.QUICK


@pytest.mark.parametrize("client", ASKED, ids=[each.__name__ for each in ASKED])
def test_a_generated_client_submits_reads_and_lists(
    client: Callable[[Path, dict[str, str]], str], live: Live, tmp_path: Path
) -> None:
    user = User.register(live)
    access = user.http.headers["Authorization"].removeprefix("Bearer ")
    found = generated.play(client, tmp_path, live.url, access)
    user.http.close()
    assert found == {
        "id": found["id"],
        "status": "completed",
        "result": {"result": 3.5},
        "ids": [found["id"]],
    }
