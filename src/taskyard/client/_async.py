"""The client. `_sync.py` is made from this file by `python tools/unasync.py`."""

import asyncio
import math
import os
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from json import loads
from types import TracebackType
from typing import Any, Self

import httpx

from taskyard.client.async_transport import AsyncWire, Query, read
from taskyard.client.encoding import LARGEST_CHUNK, chunks
from taskyard.client.errors import ActiveLimitExceeded, ApiError, AuthenticationError, WaitTimeout
from taskyard.client.events import SSEDecoder
from taskyard.client.models import (
    Attempt,
    Chunk,
    Event,
    Limits,
    LogLine,
    NewTask,
    Profile,
    Task,
    TaskType,
)
from taskyard.client.tokens import MemoryTokens, Tokens, TokenStore

DEFAULT_URL = "http://127.0.0.1:8000"
LAST_ID = 2**63 - 1
WAIT_SECONDS = 20
FULL_PAUSE_SECONDS = 0.5
# The server sends a comment every 15 s.
SILENCE_SECONDS = 45.0


class AsyncClient:
    """A user of a Taskyard server.

    ``url`` and ``token`` are those of `TASKYARD_URL` and `TASKYARD_TOKEN` unless they are given.
    With a ``refresh`` token the client renews its access token by itself; ``tokens`` is another
    place to keep them than memory. ``language`` is of labels and messages (`en`, `ru`).
    ``timeout`` is how long one answer may take, in seconds; ``retry_for`` how long, from the first
    failure on, a request is tried again when the server cannot be reached or asks for patience;
    ``on_retry`` is told of each such failure and of the seconds until the next try.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        refresh: str | None = None,
        tokens: TokenStore | None = None,
        language: str | None = None,
        timeout: float = 30.0,
        retry_for: float = 30.0,
        on_retry: Callable[[Exception, float], None] | None = None,
    ) -> None:
        self.url = (url or os.environ.get("TASKYARD_URL") or DEFAULT_URL).rstrip("/")
        if tokens is None:
            token = token or os.environ.get("TASKYARD_TOKEN")
            tokens = MemoryTokens(Tokens(token, refresh) if token else None)
        self._wire = AsyncWire(
            self.url,
            tokens,
            language=language,
            timeout=timeout,
            retry_for=retry_for,
            on_retry=on_retry,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._wire.aclose()

    async def register(self, username: str, password: str) -> int:
        """Make a user; the id. Raises InvalidRequest."""
        credentials = {"username": username, "password": password}
        answer = await self._wire.json(
            "POST", "/register/", credentials, repeatable=False, anonymous=True
        )
        return int(answer["id"])

    async def login(self, username: str, password: str) -> Tokens:
        """Get a pair of tokens and use it from now on. Raises AuthenticationError, Throttled."""
        credentials = {"username": username, "password": password}
        answer = await self._wire.json("POST", "/token/", credentials, anonymous=True)
        tokens = Tokens(answer["access"], answer["refresh"])
        self._wire.tokens.save(tokens)
        return tokens

    async def logout(self) -> None:
        """End the refresh token, here and on the server."""
        tokens = self._wire.tokens.load()
        self._wire.tokens.save(None)
        if tokens is not None and tokens.refresh is not None:
            with suppress(AuthenticationError):  # it had ended already
                await self._wire.json(
                    "POST", "/token/blacklist/", {"refresh": tokens.refresh}, anonymous=True
                )

    async def me(self) -> Profile:
        """Who is logged in."""
        return Profile.from_dict(await self._wire.json("GET", "/me/"))

    async def limits(self) -> Limits:
        """The quota of active tasks, and what it is used for."""
        return Limits.from_dict(await self._wire.json("GET", "/limits/"))

    async def types(self) -> list[TaskType]:
        """What can be run."""
        return [TaskType.from_dict(each) for each in await self._wire.json("GET", "/task-types/")]

    async def submit(
        self,
        task_type: str,
        input_data: Mapping[str, Any] | None = None,
        *,
        run_at: datetime | str | None = None,
        delay: float | None = None,
        priority: str | None = None,
        max_attempts: int | None = None,
        timeout: float | None = None,
        tags: Sequence[str] = (),
        idempotency_key: str | None = None,
    ) -> Task:
        """Submit a task. It is accepted once, however often the request has to be sent.

        Raises InvalidRequest with the places that are wrong, ActiveLimitExceeded,
        IdempotencyKeyReused.
        """
        new = NewTask(
            task_type,
            {} if input_data is None else input_data,
            run_at=run_at,
            delay=delay,
            priority=priority,
            max_attempts=max_attempts,
            timeout=timeout,
            tags=tags,
        )
        key = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        return Task.from_dict(
            await self._wire.json("POST", "/tasks/create/", new.body(), headers=key)
        )

    async def submit_many(
        self,
        tasks: Iterable[NewTask | Mapping[str, Any] | bytes],
        *,
        idempotency_key: str | None = None,
    ) -> list[int]:
        """Submit any number of tasks; their ids, in the same order.

        A task is a NewTask, or the body of a create: as a mapping, or as JSON in UTF-8 already.
        With the same ``idempotency_key`` the same tasks again make no new ones, so that a program
        that was interrupted can begin from the first. See `submit_chunks`.
        """
        submitted = self.submit_chunks(tasks, idempotency_key=idempotency_key)
        return [task_id async for chunk in submitted for task_id in chunk.ids]

    async def submit_chunks(
        self,
        tasks: Iterable[NewTask | Mapping[str, Any] | bytes],
        *,
        idempotency_key: str | None = None,
        size: int = LARGEST_CHUNK,
        wait_for_places: bool = False,
    ) -> AsyncIterator[Chunk]:
        """Submit any number of tasks, ``size`` at a time, and tell of each chunk.

        A chunk is accepted as a whole or not at all; the chunks before a refused one stay
        accepted. Pointers of an InvalidRequest count the tasks from the first of all. Where the
        quota has not enough places left, ActiveLimitExceeded is raised, or they are waited for.
        """
        key = idempotency_key or uuid.uuid4().hex
        for first, bodies in chunks(tasks, size):
            body = b'{"tasks":[' + b",".join(bodies) + b"]}"
            headers = {"Idempotency-Key": f"{key}/{first}"}
            while True:
                try:
                    reply = await self._wire.ask("POST", "/tasks/bulk/", body, headers=headers)
                    break
                except ActiveLimitExceeded:
                    fits = wait_for_places and len(bodies) <= (await self.limits()).active_limit
                    if not fits:
                        raise
                    await asyncio.sleep(FULL_PAUSE_SECONDS)
                except ApiError as error:
                    error.count_from(first)
                    raise
            replayed = reply.headers.get("Idempotency-Replayed") == "true"
            yield Chunk(first, tuple(read(reply)["ids"]), replayed)

    async def get(self, task_id: int) -> Task:
        """The task as it is now. Raises NotFound."""
        return Task.from_dict(await self._wire.json("GET", f"/tasks/{task_id}/"))

    async def list(
        self,
        *,
        status: str | Iterable[str] = (),
        task_type: str | None = None,
        tag: str | None = None,
        created_after: datetime | str | None = None,
        created_before: datetime | str | None = None,
        ordering: str = "id",
        after: int | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[Task]:
        """The own tasks, page by page as they are asked for.

        By id, upwards or downwards (`-id`), each page begins behind the last task of the one
        before, so that nothing is told twice or left out while tasks come and go.
        """
        query: Query = {
            "status": [status] if isinstance(status, str) else [*status],
            "task_type": task_type,
            "tag": tag,
            "created_after": _text(created_after),
            "created_before": _text(created_before),
            "ordering": ordering,
            "page_size": page_size,
        }
        by_id = ordering in ("id", "-id")
        if by_id or after is not None:
            query["after"] = (0 if ordering == "id" else LAST_ID) if after is None else after
        page = 1
        while True:
            answer = await self._wire.json("GET", "/tasks/", query=query)
            for each in answer["results"]:
                yield Task.from_dict(each)
            if answer["next"] is None:
                return
            if by_id:
                query["after"] = answer["results"][-1]["id"]
            else:
                page += 1
                query["page"] = page

    async def wait(self, task_id: int, *, timeout: float | None = None) -> Task:
        """The task when it has ended, whichever way. Raises WaitTimeout after ``timeout`` s."""
        ends_at = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            left = ends_at - time.monotonic()
            seconds = max(0, math.ceil(min(WAIT_SECONDS, left)))
            prefer = {"Prefer": f"wait={seconds}"} if seconds else None
            reply = await self._wire.ask(
                "GET", f"/tasks/{task_id}/", headers=prefer, seconds=self._wire.timeout + seconds
            )
            task = Task.from_dict(read(reply))
            if task.ended:
                return task
            if timeout is not None and time.monotonic() >= ends_at:
                raise WaitTimeout(task_id, timeout)
            if "Preference-Applied" not in reply.headers:
                await asyncio.sleep(1)  # a server that cannot wait for us

    async def stream(
        self, task_id: int | None = None, *, last_event_id: str = ""
    ) -> AsyncIterator[Event]:
        """What happens to one task, until it has ended; or to all own tasks, for ever.

        First the current state, then each change. A connection that breaks is made again from
        where it was, and misses nothing. Raises NotFound.
        """
        path = "/tasks/events/" if task_id is None else f"/tasks/{task_id}/events/"
        reader = SSEDecoder(last_event_id)
        while True:
            headers = {"Accept": "text/event-stream, application/problem+json"}
            if reader.last_id:
                headers["Last-Event-ID"] = reader.last_id
            reply = await self._wire.ask(
                "GET", path, headers=headers, seconds=SILENCE_SECONDS, stream=True
            )
            try:
                if reply.status_code == 204:
                    return
                async for piece in reply.aiter_bytes():
                    for told in reader.feed(piece):
                        task = Task.from_dict(loads(told.data))
                        yield Event(told.id, task)
                        if task_id is not None and task.ended:
                            return
            except httpx.TransportError as error:
                self._wire.tell(error, reader.retry_seconds)
            finally:
                await reply.aclose()
            reader.restart()
            await asyncio.sleep(reader.retry_seconds)

    async def cancel(self, task_id: int) -> Task:
        """Cancel a task, or ask it to stop where it runs already. Raises NotFound, Conflict."""
        return Task.from_dict(await self._wire.json("POST", f"/tasks/{task_id}/cancel/"))

    async def retry(self, task_id: int, *, idempotency_key: str | None = None) -> Task:
        """Submit again what ended in error or was cancelled: a new task, with ``retry_of``.

        It is made once, however often the request has to be sent. Raises NotFound, Conflict,
        ActiveLimitExceeded, IdempotencyKeyReused.
        """
        key = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        return Task.from_dict(
            await self._wire.json("POST", f"/tasks/{task_id}/retry/", headers=key)
        )

    async def logs(self, task_id: int, *, after: int = 0) -> AsyncIterator[LogLine]:
        """What the task's handler said until now, behind the first ``after`` lines."""
        async for page in self._pages(f"/tasks/{task_id}/logs/", after):
            for each in page:
                yield LogLine.from_dict(each)

    async def attempts(self, task_id: int) -> AsyncIterator[Attempt]:
        """The executions of a task, in order; the last may be running."""
        async for page in self._pages(f"/tasks/{task_id}/attempts/", 0):
            for each in page:
                yield Attempt.from_dict(each)

    async def _pages(self, path: str, after: int) -> AsyncIterator[Sequence[dict[str, Any]]]:
        while True:
            answer = await self._wire.json("GET", path, query={"after": after, "page_size": 1000})
            yield answer["results"]
            after += len(answer["results"])
            if answer["next"] is None:
                return


def _text(moment: datetime | str | None) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) else moment
