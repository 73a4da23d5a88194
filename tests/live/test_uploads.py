"""The live application of uploads, with a receiver of the test's own."""

import asyncio
import threading
from typing import Any

from django.http import HttpResponse

from taskyard.live import asgi
from taskyard.live.hub import Hub
from taskyard.live.uploads import STEP_BYTES, Upload

SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/files",
    "headers": [(b"content-length", b"8")],
}


class SlowReceiver:
    """Writes until the test lets it go."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.writes = threading.Event()
        self.may_end = threading.Event()

    def write(self, data: bytes) -> None:
        self.writes.set()
        self.may_end.wait(10)
        self.log.append("written")

    def complete(self) -> HttpResponse:
        raise AssertionError("the body was not whole")

    def refuse(self, error: Exception) -> HttpResponse:
        raise AssertionError("nothing was refused")

    def cut(self) -> None:
        self.log.append("cut")


def test_an_upload_that_the_server_cancels_is_cut_after_its_write() -> None:
    receiver = SlowReceiver()

    async def view(scope: Any, receive: Any, send: Any) -> None:
        scope[asgi.FROM_LIVE].receiver = receiver
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def run() -> None:
        step = {"type": "http.request", "body": b"x" * STEP_BYTES, "more_body": True}
        body = iter([step, step])
        ended = asyncio.Event()

        async def receive() -> Any:
            if (message := next(body, None)) is None:
                await ended.wait()
            return message

        async def send(message: Any) -> None:
            raise AssertionError("the client is gone")

        upload = asyncio.ensure_future(Upload(Hub(None), view)(SCOPE, receive, send))
        await asyncio.to_thread(receiver.writes.wait, 10)
        await asyncio.sleep(0.1)  # the second step has come and waits for the first
        upload.cancel()
        asyncio.get_running_loop().call_later(0.2, receiver.may_end.set)
        await asyncio.wait({upload})
        assert upload.cancelled()

    asyncio.run(run())
    assert receiver.log == ["written", "cut"]
