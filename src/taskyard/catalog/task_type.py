"""Task types, each of one typed function, and their registry."""

import inspect
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar, cast

from pydantic_core import PydanticSerializationError

from taskyard.catalog.encoding import TooLarge, encode_json
from taskyard.catalog.files import Bytes, UsedFile, files_in
from taskyard.catalog.run import Run, TimedOut
from taskyard.catalog.schema import Signature
from taskyard.catalog.secrets import SecretPlaces

Priority = Literal["low", "normal", "high"]
Handler = TypeVar("Handler", bound=Callable[..., Any])
NAME = re.compile(r"[a-z][a-z0-9_-]{0,49}")
# The dotted path of a function, for types of the project's own code.
PATH = re.compile(r"(?=.{1,200}\Z)[^\W\d]\w*(\.[^\W\d]\w*)+")

# Signs of a result that pydantic writes but that cannot be stored or read: NaN, U+0000, or an
# integer of more than 4,300 digits. Such a result is checked by a slower encoder.
SUSPICIOUS = re.compile(rb"null|NaN|Infinity|\\u0000|[0-9]{1000}")


RESULT_TOO_LARGE = (
    "The result has %(size)s bytes of JSON, and its limit is %(limit)s. Save it as a file instead "
    "and return that: run.save_file(name, data)."
)


class UnknownTaskType(LookupError):
    """No task type of that name is registered."""


class InvalidResult(ValueError):
    """A handler returned a value that cannot be stored; ``code`` is the reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def exponential_backoff(attempt: int) -> float:
    """Seconds to wait after failed attempt ``attempt``: 2·2^attempt, jittered, at most 300."""
    return float(min(300.0, 2 * 2**attempt) * random.uniform(0.5, 1.0))  # noqa: S311


@dataclass(frozen=True)
class TaskType:
    """A registered function with a typed input and a typed result.

    An ``internal`` type is for the project's own code: API and page do not show it and accept no
    task of it. Its name may be the dotted path of a function.
    """

    name: str
    handler: Callable[..., Any]
    label: str
    description: str
    queue: str = "default"
    priority: Priority = "normal"
    max_attempts: int = 3
    backoff: Callable[[int], float] = exponential_backoff
    timeout: float | None = None
    batch: int = 1
    result_limit: int = 1024 * 1024
    internal: bool = False
    # Whether the input stays when the task has ended.
    keep_input: bool = True
    # What the timeout raises in the handler.
    timed_out: type[TimedOut] = TimedOut

    def __post_init__(self) -> None:
        is_path = self.internal and PATH.fullmatch(self.name)
        for word in (self.queue,) if is_path else (self.name, self.queue):
            if not NAME.fullmatch(word):
                raise ValueError(f"{word!r}: lower-case letters, digits, - and _, at most 50")
        if not 1 <= self.max_attempts <= 10:
            raise ValueError(f"{self.name}: max_attempts must be 1 to 10")
        if not 1 <= self.batch <= 1000:
            raise ValueError(f"{self.name}: batch must be 1 to 1000")
        if self.timeout is not None and self.timeout <= 0:
            raise ValueError(f"{self.name}: timeout must be positive")

    @cached_property
    def signature(self) -> Signature:
        return Signature(self.handler)

    @property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema 2020-12 of the input."""
        return self.signature.input_schema

    @property
    def result_schema(self) -> dict[str, Any]:
        """JSON Schema 2020-12 of the result."""
        return self.signature.result_schema

    def validate(self, input_data: object) -> dict[str, Any]:
        """Check an input and return it unchanged. Raises InvalidInput."""
        self.signature.check(input_data)
        return cast("dict[str, Any]", input_data)

    @cached_property
    def takes_files(self) -> bool:
        """Whether an input can name files."""
        return self.signature.takes_files

    def files(self, input_data: object) -> list[UsedFile]:
        """The files that a checked input names, with their paths in it."""
        return self.signature.files(input_data)

    @cached_property
    def secrets(self) -> SecretPlaces | None:
        """Where inputs have secrets; None if they have none."""
        return self.signature.secrets

    @property
    def takes_context(self) -> bool:
        """Whether the handler takes a Run, so that it can report progress, sleep and stop early."""
        return self.signature.run_parameter is not None

    @cached_property
    def is_async(self) -> bool:
        """Whether the handler is a coroutine function, which needs an event loop."""
        call = getattr(self.handler, "__call__", None)  # noqa: B004  # for a callable object
        return inspect.iscoroutinefunction(self.handler) or inspect.iscoroutinefunction(call)

    def call(self, run: Run | None, input_json: str, files: Bytes | None = None) -> Any:
        """Call the handler; an async handler returns its coroutine. Raises InvalidInput.

        Its input files are read from ``files``.
        """
        arguments = self.signature.parse_json(input_json)
        if self.takes_files:
            for used in files_in(arguments):
                used.file.source = files
        if self.signature.run_parameter:
            arguments[self.signature.run_parameter] = run
        return self.handler(**arguments)

    def encode_result(self, value: Any) -> bytes:
        """The result as JSON text. Raises InvalidResult if it is not JSON or too large."""
        result = self.signature.result
        try:
            text = result.dump_json(value, warnings="error")
            if len(text) <= self.result_limit and not SUSPICIOUS.search(text):
                return text
            plain = result.dump_python(value, mode="json", warnings="error")
            return encode_json(plain, limit=self.result_limit).encode()
        except TooLarge as error:
            message = RESULT_TOO_LARGE % {"size": error.size, "limit": error.limit}
            raise InvalidResult("result_too_large", message) from error
        except (PydanticSerializationError, ValueError, TypeError) as error:
            raise InvalidResult(
                "result_invalid", f"Not what {self.name} declares: {error}"
            ) from error


class Registry:
    """The task types of this process by name.

    ``resolver`` imports and adds the type of a name that is not registered, and returns whether it
    did. Workers call it for the names of ready tasks; it must never get a name from a request.
    """

    def __init__(self) -> None:
        self._types: dict[str, TaskType] = {}
        self._queues = {"default"}
        # The names of types whose inputs have no secrets, of those whose inputs have, and of those
        # whose inputs are deleted at the end.
        self.without_secrets: set[str] = set()
        self.with_secrets: set[str] = set()
        self.forgetful: set[str] = set()
        self.resolver: Callable[[str], bool] | None = None

    def add(self, task_type: TaskType) -> None:
        """Register a task type.

        Raises ValueError if another function has the name, TypeError for an invalid signature.
        """
        registered = self._types.get(task_type.name)
        if registered and _qualified_name(registered.handler) != _qualified_name(task_type.handler):
            other = _qualified_name(registered.handler)
            raise ValueError(f"task type {task_type.name!r} is already {other}")
        if inspect.isasyncgenfunction(task_type.handler):
            raise TypeError(
                f"task type {task_type.name!r} yields: an async handler returns its result"
            )
        # Reading the signature raises TypeError now and not at the first submit.
        has_secrets = task_type.secrets is not None
        self._types[task_type.name] = task_type
        for names, belongs in (
            (self.with_secrets, has_secrets),
            (self.without_secrets, not has_secrets),
            (self.forgetful, not task_type.keep_input),
        ):
            (names.add if belongs else names.discard)(task_type.name)

    def get(self, name: str) -> TaskType:
        """The task type of this name. Raises UnknownTaskType."""
        try:
            return self._types[name]
        except KeyError:
            raise UnknownTaskType(name) from None

    def all(self) -> list[TaskType]:
        return [self._types[name] for name in sorted(self._types)]

    def public(self) -> list[TaskType]:
        """Those that users may submit."""
        return [task_type for task_type in self.all() if not task_type.internal]

    def get_public(self, name: str) -> TaskType:
        """The task type of this name, if users may submit it. Raises UnknownTaskType."""
        task_type = self.get(name)
        if task_type.internal:
            raise UnknownTaskType(name)
        return task_type

    def serve(self, queues: Iterable[str]) -> None:
        """Let workers serve further queues, which the tasks of a type may name."""
        self._queues.update(queues)

    def queues(self) -> list[str]:
        """The names of all queues."""
        return sorted({task_type.queue for task_type in self._types.values()} | self._queues)


registry = Registry()


def _qualified_name(handler: Callable[..., Any]) -> str:
    return f"{handler.__module__}.{handler.__qualname__}"


def task_type(
    name: str,
    *,
    label: str | None = None,
    queue: str = "default",
    priority: Priority = "normal",
    max_attempts: int = 3,
    backoff: Callable[[int], float] = exponential_backoff,
    timeout: float | None = None,
    batch: int = 1,
    result_limit: int = 1024 * 1024,
    keep_input: bool = True,
) -> Callable[[Handler], Handler]:
    """Register a function as a task type. Returns the function unchanged.

    ``timeout`` is in seconds for each attempt. ``backoff(attempt)`` returns the seconds to wait
    after a failed attempt. One process may claim and finish up to ``batch`` tasks together, for
    types that take milliseconds. ``result_limit`` is in bytes of JSON. Without ``keep_input`` the
    input is deleted when the task has ended.
    Raises TypeError for a signature without a JSON Schema, ValueError for an invalid option.
    """

    def register(handler: Handler) -> Handler:
        doc = (handler.__doc__ or "").strip()
        registry.add(
            TaskType(
                name=name,
                handler=handler,
                label=label or name.replace("-", " ").replace("_", " ").capitalize(),
                description=doc.split("\n\n")[0].replace("\n", " "),
                queue=queue,
                priority=priority,
                max_attempts=max_attempts,
                backoff=backoff,
                timeout=timeout,
                batch=batch,
                result_limit=result_limit,
                keep_input=keep_input,
            )
        )
        return handler

    return register
