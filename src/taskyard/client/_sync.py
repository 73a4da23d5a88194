"""Generated from `_async.py` by `python tools/unasync.py`; edit that file instead."""

import copy
import math
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from json import loads
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import quote

import httpx

from taskyard.client import sync_sso
from taskyard.client.device import DeviceCode
from taskyard.client.encoding import LARGEST_CHUNK, split_into_chunks
from taskyard.client.errors import (
    ActiveLimitExceeded,
    ApiError,
    AuthenticationError,
    RequestRejected,
    TaskyardError,
    WaitTimeout,
)
from taskyard.client.events import SSEDecoder
from taskyard.client.local_files import Source
from taskyard.client.models import (
    ApiKey,
    Attempt,
    Chunk,
    Limits,
    LogLine,
    NewTask,
    OnProgress,
    Profile,
    SharedLink,
    TaskType,
)
from taskyard.client.sync_files import Event, File, Files, Task
from taskyard.client.sync_transfer import upload
from taskyard.client.sync_transport import Query, Transport, parse_json
from taskyard.client.tokens import Issuer, MemoryTokens, Tokens, TokenStore

DEFAULT_URL = "http://127.0.0.1:8000"
LAST_ID = 2**63 - 1
WAIT_SECONDS = 20
FULL_PAUSE_SECONDS = 0.5
# The server sends a comment every 15 s.
SILENCE_SECONDS = 45.0


class Client:
    """A client of a Taskyard server, with the tokens or an API key of one user.

    ``url`` and ``token`` default to `TASKYARD_URL` and `TASKYARD_TOKEN`; an API key is a ``token``
    that needs no renewal. With a ``refresh`` token
    the client renews its access token; ``tokens`` stores them elsewhere than in memory.
    With the key of a service account, ``on_behalf_of`` names the subject whose tasks these are.
    ``language`` is the language of labels and messages (`en`, `ru`). ``timeout`` limits one
    response, in seconds. If the server cannot be reached or asks to retry later, the client
    retries for ``retry_for`` seconds after the first failure, and calls ``on_retry`` before each
    retry with the error and the seconds until then.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        refresh: str | None = None,
        tokens: TokenStore | None = None,
        on_behalf_of: str | None = None,
        language: str | None = None,
        timeout: float = 30.0,
        retry_for: float = 30.0,
        on_retry: Callable[[Exception, float], None] | None = None,
    ) -> None:
        self.url = (url or os.environ.get("TASKYARD_URL") or DEFAULT_URL).rstrip("/")
        if tokens is None:
            token = token or os.environ.get("TASKYARD_TOKEN")
            tokens = MemoryTokens(Tokens(token, refresh) if token else None)
        self._transport = Transport(
            self.url,
            tokens,
            on_behalf_of=on_behalf_of,
            language=language,
            timeout=timeout,
            retry_for=retry_for,
            on_retry=on_retry,
        )
        self.files = Files(self._transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def on_behalf_of(self, subject: str) -> Self:
        """The same client for a subject of the service account whose key it has.

        Both share their connections: closing one closes the other.
        """
        other = copy.copy(self)
        other._transport = self._transport.on_behalf_of(subject)
        other.files = Files(other._transport)
        return other

    def subject_token(self, subject: str, *, expires_in: int | None = None) -> str:
        """A token with which a browser can read the tasks of this subject, and nothing else.

        It is valid for ``expires_in`` seconds, by default 900. Raises ApiError.
        """
        body = {} if expires_in is None else {"expires_in": expires_in}
        path = f"/subjects/{quote(subject, safe='')}/token/"
        return str((self._transport.json("POST", path, body))["access"])

    def register(self, username: str, password: str) -> int:
        """Create a user and return the id. Raises InvalidRequest."""
        credentials = {"username": username, "password": password}
        user = self._transport.json(
            "POST", "/register/", credentials, repeatable=False, anonymous=True
        )
        return int(user["id"])

    def login(self, username: str, password: str) -> Tokens:
        """Get a pair of tokens and use it from now on. Raises AuthenticationError, RateLimited."""
        credentials = {"username": username, "password": password}
        pair = self._transport.json("POST", "/token/", credentials, anonymous=True)
        tokens = Tokens(pair["access"], pair["refresh"])
        self._transport.tokens.save(tokens)
        return tokens

    def login_sso(self, show: Callable[[DeviceCode], None]) -> Tokens:
        """Sign a person in at the provider of single sign-on, by the device flow.

        ``show`` tells the person the code and the address. The client polls until the person has
        signed in, and uses the tokens from now on. Raises AuthenticationError, NotFound if the
        server has no single sign-on, ConnectionFailed.
        """
        found = self._transport.json("GET", "/sso/", anonymous=True)
        issuer = Issuer(found["token_endpoint"], found["client_id"])
        endpoint = found["device_authorization_endpoint"]
        device = sync_sso.request_code(endpoint, issuer.client_id, found["scope"])
        show(device)
        tokens = sync_sso.wait_for_tokens(issuer, device)
        self._transport.tokens.save(tokens)
        return tokens

    def logout(self) -> None:
        """Forget the tokens, and revoke the refresh token on the server.

        A refresh token of single sign-on is only forgotten.
        """
        tokens = self._transport.tokens.load()
        self._transport.tokens.save(None)
        if tokens is not None and tokens.refresh is not None and tokens.issuer is None:
            with suppress(AuthenticationError):  # it was expired or revoked
                self._transport.json(
                    "POST", "/token/blacklist/", {"refresh": tokens.refresh}, anonymous=True
                )

    def me(self) -> Profile:
        """The user of the token."""
        return Profile.from_dict(self._transport.json("GET", "/me/"))

    def keys(self) -> list[ApiKey]:
        """The user's API keys, oldest first. Needs a token of the user."""
        return [ApiKey.from_dict(raw) for raw in self._transport.json("GET", "/keys/")]

    def create_key(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        task_types: Sequence[str] | None = None,
        expires_at: datetime | str | None = None,
    ) -> ApiKey:
        """Make an API key; the server shows its ``key`` this once.

        A program gives the key to a client as ``token``. Raises InvalidRequest, Conflict if there
        are as many keys as allowed.
        """
        body = {
            "name": name,
            "scopes": [*scopes],
            "task_types": None if task_types is None else [*task_types],
            "expires_at": _isoformat(expires_at),
        }
        return ApiKey.from_dict(self._transport.json("POST", "/keys/", body, repeatable=False))

    def revoke_key(self, key_id: int) -> None:
        """Revoke an API key, which is refused from now on. Raises NotFound."""
        self._transport.request("DELETE", f"/keys/{key_id}/")

    def limits(self) -> Limits:
        """The quota of active tasks and its use."""
        return Limits.from_dict(self._transport.json("GET", "/limits/"))

    def types(self) -> list[TaskType]:
        """The task types that the server can run."""
        types = self._transport.json("GET", "/task-types/")
        return [TaskType.from_dict(raw) for raw in types]

    def submit(
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
        """Submit a task. An idempotency key ensures that retries create it only once.

        A file in ``input_data`` is a File, its id, or a Path, which is uploaded first; if the
        server then refuses the task, the upload is deleted. A second call uploads a Path again,
        as another file: with an ``idempotency_key`` of your own, upload before. Raises
        InvalidRequest, whose ``errors`` name the fields, ActiveLimitExceeded,
        IdempotencyKeyReused.
        """
        uploaded: dict[Path, File] = {}
        input_data = self._with_uploads({} if input_data is None else input_data, uploaded)
        new = NewTask(
            task_type,
            input_data,
            run_at=run_at,
            delay=delay,
            priority=priority,
            max_attempts=max_attempts,
            timeout=timeout,
            tags=tags,
        )
        key = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        try:
            raw = self._transport.json("POST", "/tasks/create/", new.body(), headers=key)
        except RequestRejected:
            with suppress(TaskyardError):  # the server deletes an unused file after a day
                for file in uploaded.values():
                    file.delete()
            raise
        return self._task(raw)

    def _with_uploads(self, value: Any, uploaded: dict[Path, File]) -> Any:
        """The value with files in place of paths, which are uploaded once each."""
        if isinstance(value, Path):
            if value not in uploaded:
                uploaded[value] = self.upload(value)
            return uploaded[value]
        if isinstance(value, Mapping):
            return {name: self._with_uploads(inner, uploaded) for name, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._with_uploads(inner, uploaded) for inner in value]
        return value

    def _task(self, raw: Any) -> Task:
        return Task.from_dict(raw, self._transport)

    def upload(
        self,
        source: str | os.PathLike[str] | bytes | IO[bytes],
        name: str | None = None,
        *,
        progress: OnProgress | None = None,
        resumable: bool = False,
    ) -> File:
        """Upload a file: a path, bytes, or a binary stream from where it stands.

        ``name`` is by default that of the path or the stream. ``progress`` is called with the
        bytes so far and all bytes. A file of more than 16 MiB, and any file if ``resumable`` is
        true, is sent in pieces: after a lost connection the client goes on where the server
        stands, with files in S3 from the beginning. It gives up if no byte arrives for
        ``retry_for`` seconds.

        Raises FileTooLarge, FilesLimitExceeded, ConnectionFailed, TransferFailed, OSError.
        """
        with Source(source, name) as opened:
            raw = upload(self._transport, opened, progress=progress, resumable=resumable)
        return File.from_dict(raw, self._transport)

    def submit_many(
        self,
        tasks: Iterable[NewTask | Mapping[str, Any] | bytes],
        *,
        idempotency_key: str | None = None,
    ) -> list[int]:
        """Submit any number of tasks and return their ids, in the same order.

        A task is a NewTask or the body of a create request: a mapping, or JSON encoded in UTF-8.
        Repeating the call with the same ``idempotency_key`` and the same tasks creates no new
        ones, so an interrupted program can start again from the first. See `submit_chunks`.
        """
        submitted = self.submit_chunks(tasks, idempotency_key=idempotency_key)
        return [task_id for chunk in submitted for task_id in chunk.ids]

    def submit_chunks(
        self,
        tasks: Iterable[NewTask | Mapping[str, Any] | bytes],
        *,
        idempotency_key: str | None = None,
        size: int = LARGEST_CHUNK,
        wait_for_places: bool = False,
    ) -> Iterator[Chunk]:
        """Submit any number of tasks, ``size`` at a time, and yield each accepted chunk.

        The server accepts a chunk as a whole or not at all; chunks before a rejected one stay
        accepted. The pointers of an InvalidRequest count from the first task of all chunks. If
        the quota is used up, the method raises ActiveLimitExceeded, or waits for free places if
        ``wait_for_places`` is true.
        """
        key = idempotency_key or uuid.uuid4().hex
        for first, bodies in split_into_chunks(tasks, size):
            body = b'{"tasks":[' + b",".join(bodies) + b"]}"
            headers = {"Idempotency-Key": f"{key}/{first}"}
            while True:
                try:
                    response = self._transport.request(
                        "POST", "/tasks/bulk/", body, headers=headers
                    )
                    break
                except ActiveLimitExceeded:
                    fits = wait_for_places and len(bodies) <= (self.limits()).active_limit
                    if not fits:
                        raise
                    time.sleep(FULL_PAUSE_SECONDS)
                except ApiError as error:
                    error.offset_pointers(first)
                    raise
            replayed = response.headers.get("Idempotency-Replayed") == "true"
            yield Chunk(first, tuple(parse_json(response)["ids"]), replayed)

    def get(self, task_id: int) -> Task:
        """Get a task. Raises NotFound."""
        return self._task(self._transport.json("GET", f"/tasks/{task_id}/"))

    def list(
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
    ) -> Iterator[Task]:
        """Iterate over the user's tasks; pages are fetched as needed.

        With the ordering `id` or `-id` each page starts after the last task of the page before,
        so tasks that are created or deleted meanwhile cause no duplicates and no gaps.
        """
        query: Query = {
            "status": [status] if isinstance(status, str) else [*status],
            "task_type": task_type,
            "tag": tag,
            "created_after": _isoformat(created_after),
            "created_before": _isoformat(created_before),
            "ordering": ordering,
            "page_size": page_size,
        }
        by_id = ordering in ("id", "-id")
        if by_id or after is not None:
            query["after"] = (0 if ordering == "id" else LAST_ID) if after is None else after
        page_number = 1
        while True:
            page = self._transport.json("GET", "/tasks/", query=query)
            for raw in page["results"]:
                yield self._task(raw)
            if page["next"] is None:
                return
            if by_id:
                query["after"] = page["results"][-1]["id"]
            else:
                page_number += 1
                query["page"] = page_number

    def wait(self, task_id: int, *, timeout: float | None = None) -> Task:
        """Wait until a task has ended. Raises WaitTimeout after ``timeout`` seconds, NotFound."""
        ends_at = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            left = ends_at - time.monotonic()
            seconds = max(0, math.ceil(min(WAIT_SECONDS, left)))
            prefer = {"Prefer": f"wait={seconds}"} if seconds else None
            response = self._transport.request(
                "GET",
                f"/tasks/{task_id}/",
                headers=prefer,
                seconds=self._transport.timeout + seconds,
            )
            task = self._task(parse_json(response))
            if task.ended:
                return task
            if timeout is not None and time.monotonic() >= ends_at:
                raise WaitTimeout(task_id, timeout)
            if "Preference-Applied" not in response.headers:
                time.sleep(1)  # the server does not support `Prefer: wait`

    def stream(self, task_id: int | None = None, *, last_event_id: str = "") -> Iterator[Event]:
        """Stream the changes of one task until it has ended, or of all the user's tasks forever.

        The first event is the current state. After a disconnect the client reconnects and
        resumes after the last event, so it misses nothing. Raises NotFound.
        """
        path = "/tasks/events/" if task_id is None else f"/tasks/{task_id}/events/"
        decoder = SSEDecoder(last_event_id)
        while True:
            headers = {"Accept": "text/event-stream, application/problem+json"}
            if decoder.last_id:
                headers["Last-Event-ID"] = decoder.last_id
            response = self._transport.request(
                "GET", path, headers=headers, seconds=SILENCE_SECONDS, stream=True
            )
            try:
                if response.status_code == 204:
                    return
                for chunk in response.iter_bytes():
                    for event in decoder.feed(chunk):
                        task = self._task(loads(event.data))
                        yield Event(event.id, task)
                        if task_id is not None and task.ended:
                            return
            except httpx.TransportError as error:
                self._transport.notify_retry(error, decoder.retry_seconds)
            finally:
                response.close()
            decoder.reset()
            time.sleep(decoder.retry_seconds)

    def cancel(self, task_id: int) -> Task:
        """Cancel a task; a running one is asked to stop. Raises NotFound, Conflict."""
        return self._task(self._transport.json("POST", f"/tasks/{task_id}/cancel/"))

    def retry(self, task_id: int, *, idempotency_key: str | None = None) -> Task:
        """Submit a failed or cancelled task again, as a new task with ``retry_of``.

        An idempotency key ensures that retries of the request create it only once. Raises
        NotFound, Conflict, ActiveLimitExceeded, IdempotencyKeyReused.
        """
        key = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        return self._task(self._transport.json("POST", f"/tasks/{task_id}/retry/", headers=key))

    def share(self, task_id: int, *, expires_in: int = 86_400, files: bool = False) -> SharedLink:
        """Make a link that shows a task without a login for ``expires_in`` seconds.

        It shows the state, the progress and the result or error, never the input; with ``files``
        also what the task saves. The most is 30 days. Raises NotFound, InvalidRequest.
        """
        body = {"expires_in": expires_in, "files": files}
        # Sent twice, it makes two links, and the client receives only one of them.
        raw = self._transport.json("POST", f"/tasks/{task_id}/share/", body)
        return SharedLink.from_dict(raw)

    def logs(self, task_id: int, *, after: int = 0) -> Iterator[LogLine]:
        """Iterate over the log lines of a task, without the first ``after`` ones."""
        for page in self._pages(f"/tasks/{task_id}/logs/", after):
            for raw in page:
                yield LogLine.from_dict(raw)

    def attempts(self, task_id: int) -> Iterator[Attempt]:
        """Iterate over the attempts of a task, in order; the last may still be running."""
        for page in self._pages(f"/tasks/{task_id}/attempts/", 0):
            for raw in page:
                yield Attempt.from_dict(raw)

    def _pages(self, path: str, after: int) -> Iterator[Sequence[dict[str, Any]]]:
        while True:
            page = self._transport.json("GET", path, query={"after": after, "page_size": 1000})
            yield page["results"]
            after += len(page["results"])
            if page["next"] is None:
                return


def _isoformat(time: datetime | str | None) -> str | None:
    return time.isoformat() if isinstance(time, datetime) else time
