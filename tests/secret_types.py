"""Task types with secrets, and types that keep no input.

``register`` adds them for one test: with them, a project needs a key. Live systems import
``tests.live_secret_types``.
"""

import hashlib
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field
from typing_extensions import TypedDict

from taskyard import Fail, InputFile, Retry, Run, Secret
from taskyard.catalog.task_type import TaskType, registry

TYPES: list[TaskType] = []
Text = Annotated[str, Secret]


def declare(name: str, **options: Any) -> Callable[[Any], Any]:
    """Keep the function as a task type that ``register`` registers."""

    def keep(handler: Any) -> Any:
        given = {"name": name, "label": name, "description": "", "max_attempts": 1, **options}
        TYPES.append(TaskType(handler=handler, **given))
        return handler

    return keep


def register() -> None:
    for task_type in TYPES:
        registry.add(task_type)


def unregister() -> None:
    for task_type in TYPES:
        registry._types.pop(task_type.name, None)
        for names in (registry.with_secrets, registry.without_secrets, registry.forgetful):
            names.discard(task_type.name)


def digest(secret: str) -> str:
    """Proves that a handler got the secret, and does not contain it."""
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


class Account(BaseModel):
    user: str
    password: Annotated[str, Secret, Field(min_length=4)]


@dataclass
class Header:
    name: str
    value: Text


class Pair(TypedDict):
    left: str
    right: Text


HOW = ("returns", "raises", "fails", "logs", "prints", "retries", "refuses", "sleeps")


@declare("signs-in")
def signs_in(
    run: Run,
    user: str,
    password: Annotated[str, Secret, Field(max_length=200)],
    how: Literal[
        "returns", "raises", "fails", "logs", "prints", "retries", "refuses", "sleeps"
    ] = "returns",
) -> str:
    """Sign in as a user, and say the secret in every way that a handler can."""
    run.progress(1, total=2, message=f"signing in with {password}")
    if how == "raises":
        cause = KeyError(f"the password is {password}")
        raise ValueError(f"401 for https://{user}:{password}@example.org") from cause
    if how == "fails":
        raise Fail("denied", f"{user} has not the password {password}")
    if how == "retries":
        raise Retry(f"try {password!r} again", after=0)
    if how == "refuses":
        sys.exit(f"no entry with {password}")
    if how == "logs":
        run.log(f"{user} with {password}")
        logging.getLogger("sign-in").warning("%s with %s", user, password, extra={"pw": password})
        try:
            raise RuntimeError(password)
        except RuntimeError:
            logging.getLogger("sign-in").exception("not with %s", password)
    if how == "prints":
        print(f"{user} with {password}")
        print(password, end="")
    if how == "sleeps":
        run.sleep(0.01)
    return digest(password)


@declare("many-secrets")
def many_secrets(
    account: Account,
    headers: list[Header],
    tokens: list[Text],
    by_name: dict[str, Text],
    pair: Pair,
    maybe: Text | None = None,
) -> list[str]:
    """Take secrets in every form that is supported."""
    found = [account.password, *(header.value for header in headers), *tokens, *by_name.values()]
    return [digest(secret) for secret in (*found, pair["right"], maybe or "")]


MANY = {
    "account": {"user": "ann", "password": "pass-{n}-0"},
    "headers": [{"name": "X-Key", "value": "pass-{n}-1"}],
    "tokens": ["pass-{n}-2", "pass-{n}-3"],
    "by_name": {"a/b~c": "pass-{n}-4"},
    "pair": {"left": "open", "right": "pass-{n}-5"},
    "maybe": "pass-{n}-6",
}


@declare("quick-secret", batch=100)
def quick_secret(password: Text, fails: bool = False) -> str:
    """Be quick enough for the fast path."""
    if fails:
        raise Fail("denied", f"not {password}")
    return digest(password)


@declare("takes-a-pin")
def takes_a_pin(pin: Annotated[str, BeforeValidator(str), Secret]) -> str:
    """Take a number for a text."""
    return digest(pin)


@declare("number-or-secret")
def number_or_secret(one: int | Text) -> str:
    """Take a secret, or a number, which is none."""
    return digest(str(one))


@declare("with-file")
def with_file(table: InputFile, password: Text) -> str:
    """Take a file beside a secret."""
    return digest(password)


@declare("short-lived", keep_input=False)
def short_lived(note: str, how: Literal["returns", "fails"] = "returns") -> str:
    """Keep no input."""
    if how == "fails":
        raise Fail("denied", "no")
    return "done"


@declare("short-lived-secret", keep_input=False)
def short_lived_secret(run: Run, password: Text, seconds: float = 0) -> str:
    """Keep neither the input nor its secret."""
    time.sleep(seconds)
    return digest(password)


@declare("short-lived-quick", keep_input=False, batch=100)
def short_lived_quick(number: int) -> int:
    """Keep no input, on the fast path."""
    return number % 7
