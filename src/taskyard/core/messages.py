"""The texts of error codes: those of pydantic, ours, and those of ``Rejected`` errors.

The keys are part of the API (``code`` in a problem). A text takes its parameters from the error. An
error whose code is not here keeps its own message.
"""

import re
from collections.abc import Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from taskyard.catalog.schema import FieldError
from taskyard.catalog.task_type import TaskType
from taskyard.core.types import MESSAGES as ENGLISH

_NUMBER = _("A number is expected.")
_INTEGER = _("A whole number is expected.")
_STRING = _("A string is expected.")
_BOOLEAN = _("True or false is expected.")
_OBJECT = _("An object is expected.")
_LIST = _("A list is expected.")
_DATE = _("A date in ISO 8601 is expected.")
_TIME = _("A time in ISO 8601 is expected.")
_MOMENT = _("A date and time in ISO 8601 is expected.")
_DURATION = _("A duration is expected.")
_CHOICE = _("One of these is expected: %(expected)s.")

_LAST_CHOICE = re.compile(r" or (?=(?:'[^']*'|[^' ]+)\Z)")

MESSAGES: dict[str, Promise] = {
    # pydantic
    "missing": _("This field is required."),
    "extra_forbidden": _("This field is not known."),
    "int_type": _INTEGER,
    "int_parsing": _INTEGER,
    "int_from_float": _INTEGER,
    "int_parsing_size": _("The number is too large."),
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "decimal_type": _NUMBER,
    "decimal_parsing": _NUMBER,
    "finite_number": _("A finite number is expected."),
    "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN,
    "string_type": _STRING,
    "string_too_short": _("At least %(min_length)s characters are expected."),
    "string_too_long": _("At most %(max_length)s characters are allowed."),
    "string_pattern_mismatch": _("The value must match the pattern %(pattern)s."),
    "list_type": _LIST,
    "tuple_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dataclass_type": _OBJECT,
    "too_short": _("At least %(min_length)s items are expected."),
    "too_long": _("At most %(max_length)s items are allowed."),
    "greater_than": _("The value must be greater than %(gt)s."),
    "greater_than_equal": _("The value must be at least %(ge)s."),
    "less_than": _("The value must be less than %(lt)s."),
    "less_than_equal": _("The value must be at most %(le)s."),
    "multiple_of": _("The value must be a multiple of %(multiple_of)s."),
    "literal_error": _CHOICE,
    "enum": _CHOICE,
    "union_tag_invalid": _("One of these is expected: %(expected_tags)s."),
    "none_required": _("Null is expected."),
    "value_error": _("The value is refused: %(error)s"),
    "assertion_error": _("The value is refused: %(error)s"),
    "json_invalid": _("The value is not valid JSON."),
    "date_type": _DATE,
    "date_parsing": _DATE,
    "date_from_datetime_parsing": _DATE,
    "time_type": _TIME,
    "time_parsing": _TIME,
    "datetime_type": _MOMENT,
    "datetime_parsing": _MOMENT,
    "datetime_from_date_parsing": _MOMENT,
    "datetime_object_invalid": _MOMENT,
    "timezone_aware": _("The time must name its zone, for example Z or +03:00."),
    "time_delta_type": _DURATION,
    "time_delta_parsing": _DURATION,
    "uuid_type": _("A UUID is expected."),
    "uuid_parsing": _("A UUID is expected."),
    "url_type": _("A URL is expected."),
    "url_parsing": _("A URL is expected."),
    # the request
    "null_characters_not_allowed": _("Null characters are not allowed."),
    "parse_error": _("Half of a surrogate pair is not a character."),
    "unknown_task_type": _("There is no such task type."),
    "run_at_and_delay": _("Give either run_at or delay, not both."),
    "time_out_of_range": _("The time is too far away."),
    "unknown_parameter": _("This parameter is not known."),
    "repeated_parameter": _("This parameter may be given once."),
    "page_and_after": _("Give either page or after, not both."),
    "offset_and_other": _("Give one of page, offset and after."),
    "page_size_and_limit": _("Give either page_size or limit, not both."),
    "ordering_and_after": _("With after, the order can only be id or -id."),
    "task_too_large": _("The task has more than %(limit)s bytes."),
    "idempotency_key_invalid": _(
        "The idempotency key must be 1 to 255 printable ASCII characters."
    ),
    "idempotency_key_reused": _("The idempotency key was used with another request."),
    "idempotent_task_deleted": _("The task made with this idempotency key has been deleted."),
    "precondition_failed": _("It has changed since you read it. Read it again."),
    "if_match_invalid": _("If-Match must hold entity tags in quotes, as ETag has them, or *."),
    # the page
    "number_with_comma": _("A number is expected, its fraction after a point: 1.5, not 1,5."),
    "unknown_time_zone": _(
        "This time zone is not known here. Name one like Europe/Moscow, or UTC."
    ),
    "not_for_fields": _("The fields cannot say this exactly."),
    # accounts
    "username_taken": _("This username is already taken."),
    "password_incorrect": _("The old password is not right."),
    "invalid_characters": _("Control characters are not allowed."),
    "token_not_valid": _("The token is not valid or no longer valid."),
    "no_active_account": _("There is no active account with this name and password."),
    "throttled": _("Too many attempts. Try again in %(retry_after)s s."),
    # tasks
    "active_limit_exceeded": _("You cannot create more than %(limit)s active tasks."),
    "submit_rate_exceeded": _("You submit faster than %(rate)s. Try again in %(retry_after)s s."),
    "bytes_limit_exceeded": _(
        "Your tasks take up all the space you have, %(limit)s bytes. Delete old ones."
    ),
    "already_finished": _("The task has already ended."),
    "not_retryable": _("Only a task that ended in error or was cancelled can be retried."),
    "task_active": _("The task is still active. Cancel it first."),
    "task_referenced": _("The task is needed by other data and cannot be deleted."),
}

# What Taskyard itself says of a failed task; it is kept in English and shown in any language.
FAILURES: dict[str, Promise] = {
    ENGLISH["worker_lost"]: _("The worker was lost while it ran the task."),
    ENGLISH["timeout"]: _("The task took longer than its timeout."),
    ENGLISH["cancelled_by_kill"]: _("The task did not stop when asked; its process was ended."),
    ENGLISH["handed_back"]: _("The worker stopped and handed the task back."),
    ENGLISH["unknown_task_type"]: _("No such task type is known to the worker."),
    ENGLISH["result_refused"]: _("The database refused what the task returned."),
}


def is_builtin(task_type: TaskType) -> bool:
    """Whether a task type came with Taskyard, so that its words are in our catalogues."""
    return task_type.handler.__module__ == "taskyard.catalog.builtin"


def of_type(task_type: TaskType, text: str) -> str:
    """A task type's own words; an author's stay as they are written."""
    # gettext answers "" with the catalogue's header.
    return gettext(text) if text and is_builtin(task_type) else str(text)


def of(code: str, otherwise: str, params: Mapping[str, Any]) -> str:
    """The words for a code in the language of the request."""
    try:
        return str(MESSAGES[code]) % params
    except (KeyError, TypeError, ValueError):
        return otherwise


def of_field_error(field_error: FieldError) -> str:
    context = field_error.context
    if isinstance(context.get("expected"), str):
        # Pydantic joins the choices by an English word.
        context = {**context, "expected": _LAST_CHOICE.sub(", ", context["expected"])}
    return of(field_error.code, field_error.message, context)


def of_failure(message: str) -> str:
    """A task's error message; a handler's own words stay as they are."""
    return str(FAILURES.get(message, message))
