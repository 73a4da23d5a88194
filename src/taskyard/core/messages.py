"""The texts of error codes: those of pydantic, ours, and those of ``Rejected`` errors.

The keys are part of the API (``code`` in a problem). A text takes its parameters from the error. An
error whose code is not here keeps its own message.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from taskyard.catalog.schema import FieldError
from taskyard.catalog.task_type import RESULT_TOO_LARGE, TaskType
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

# A parameter in a text that ``re.escape`` has escaped.
_PARAMETER = re.compile(r"%\\\((\w+)\\\)s")
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
    "too_many_keys": _("You have %(limit)s API keys, as many as allowed. Revoke old ones."),
    "not_in_future": _("The time must be in the future."),
    "task_type_refused": _("The API key may not submit this task type."),
    "no_active_account": _("There is no active account with this name and password."),
    "registration_closed": _("Registration is closed here. Ask the operator for an account."),
    "invitation_invalid": _("The invitation is not valid or no longer valid."),
    "mail_not_configured": _("This server sends no mail. Ask the operator for a new password."),
    "mail_busy": _("Too many mails wait to be sent. Try again soon."),
    "reset_token_invalid": _("The link is not valid or no longer valid. Ask for a new one."),
    "email_link_invalid": _("The link is not valid or no longer valid. Save the address again."),
    "password_wrong": _("The password is not right."),
    "throttled": _("Too many attempts. Try again in %(retry_after)s s."),
    "on_behalf_refused": _("Only the key of a service account may act on behalf of a subject."),
    "subject_invalid": _(
        "The name of a subject must be 1 to 100 letters, digits and ._:@+=~|- in ASCII."
    ),
    "subject_suspended": _("The subject has been suspended."),
    "subject_and_header": _("The header On-Behalf-Of names another subject."),
    "too_many_subjects": _("The service account has %(limit)s subjects, as many as allowed."),
    "password_login_off": _("Login by password is off. Use single sign-on."),
    "sso_off": _("Single sign-on is not set up for this."),
    "sso_unavailable": _("The provider of single sign-on does not answer. Try again soon."),
    "sso_expired": _(
        "This sign-in took too long, or was begun in another window. Please sign in again."
    ),
    "sso_denied": _("The provider of single sign-on has refused: %(error)s."),
    "sso_invalid": _("The answer of the provider is not valid. Please sign in again."),
    "sso_suspended": _("Your account is suspended here."),
    # tasks
    "active_limit_exceeded": _("You cannot create more than %(limit)s active tasks."),
    "submit_rate_exceeded": _("You submit faster than %(rate)s. Try again in %(retry_after)s s."),
    "bytes_limit_exceeded": _(
        "There is no space for this task: all of yours may take %(limit)s bytes. Delete old ones."
    ),
    "already_finished": _("The task has already ended."),
    "not_retryable": _("Only a task that ended in error or was cancelled can be retried."),
    "input_not_kept": _(
        "The input was deleted when the task ended. Submit a new task instead of a retry."
    ),
    "encryption_unavailable": _(
        "The service cannot encrypt the secret of this task, because it has no key. "
        "Tell the operator."
    ),
    "secret_unreadable": _(
        "A secret of the task cannot be decrypted. Submit a new task with the secret."
    ),
    "secret_misplaced": _("A secret is at a place where the task type cannot hide it."),
    "secret_is_dots": _("This is shown in place of the secret. Give the secret."),
    "task_active": _("The task is still active. Cancel it first."),
    "file_not_found": _("There is no such file."),
    "file_type_refused": _("The file is %(actual)s; one of these is expected: %(accepted)s."),
    "file_too_large": _("The file has more than %(limit)s bytes."),
    "files_limit_exceeded": _(
        "There is no space for this file: all of yours may take %(limit)s bytes. Delete old ones."
    ),
    "file_count_exceeded": _("You have %(limit)s files, as many as allowed. Delete old ones."),
    "too_many_files": _("A task may have at most %(limit)s files."),
    "storage_full": _("There is no space left for files."),
    "storage_unavailable": _("The storage of files is unavailable for the moment. Try again soon."),
    "file_missing": _("The storage has lost the bytes of the file %(name)s."),
    "file_in_use": _("A task that has not ended uses the file."),
    "wrong_offset": _("The upload goes on at byte %(offset)s."),
    "upload_incomplete": _("The file was to have %(size)s bytes, and %(received)s came."),
    "upload_gone": _("The upload was deleted, or took too long."),
    "upload_active": _("Another request writes this upload at the moment."),
    "digest_mismatch": _("The bytes do not have the declared SHA-256."),
    "direct_unavailable": _("Files are uploaded to this server only, not past it."),
    "digest_invalid": _("Repr-Digest must be sha-256=:…:, in Base64."),
    "upload_headers_invalid": _(
        "Upload-Complete must be ?0 or ?1; Upload-Length and Upload-Offset must be whole numbers."
    ),
    "upload_length_required": _("An upload that can be resumed needs Upload-Length."),
    "upload_length_differs": _("Upload-Length and Content-Length do not agree."),
    "upload_type_invalid": _("The body of a PATCH must be application/partial-upload."),
    "form_unreadable": _("The form cannot be read."),
    "form_cut": _("The form ended too early."),
    "form_too_large": _("The form has too much beside its file."),
    "form_without_file": _("The form has no file."),
    "form_several_files": _("The form has several files. Send one at a time."),
    "share_not_valid": _("This link is not valid, or it has expired."),
    "task_referenced": _("The task is needed by other data and cannot be deleted."),
}

# What Taskyard itself says of a failed task; it is kept in English, with its parameters, and shown
# in any language.
FAILURES: dict[str, Promise] = {
    ENGLISH["worker_lost"]: _("The worker was lost while it ran the task."),
    ENGLISH["timeout"]: _("The task took longer than its timeout."),
    ENGLISH["cancelled_by_kill"]: _("The task did not stop when asked; its process was ended."),
    ENGLISH["handed_back"]: _("The worker stopped and handed the task back."),
    ENGLISH["unknown_task_type"]: _("No such task type is known to the worker."),
    ENGLISH["secret_unreadable"]: _(
        "The worker cannot decrypt a secret of the input. Submit the task again with the secret."
    ),
    ENGLISH["result_refused"]: _("The database refused what the task returned."),
    ENGLISH["file_missing"]: _("The storage has lost the bytes of the file %(name)s."),
    ENGLISH["file_too_large"]: _(
        "The task saved the file %(name)s, which has more than %(limit)s bytes."
    ),
    ENGLISH["files_limit_exceeded"]: _(
        "The task could not save the file %(name)s: all your files may take %(limit)s bytes, "
        "and it does not fit."
    ),
    ENGLISH["file_count_exceeded"]: _(
        "The task could not save the file %(name)s: you have %(limit)s files, as many as allowed."
    ),
    ENGLISH["too_many_files"]: _(
        "The task could not save the file %(name)s: a task may have at most %(limit)s files."
    ),
    ENGLISH["storage_full"]: _("The storage of files has no space."),
    ENGLISH["storage_unavailable"]: _("The storage of files does not answer."),
    RESULT_TOO_LARGE: _(
        "The result has %(size)s bytes of JSON, and its limit is %(limit)s. Save it as a file "
        "instead and return that: run.save_file(name, data)."
    ),
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
    for pattern, text in _failures():
        if match := pattern.fullmatch(message):
            return str(text) % match.groupdict()
    return message


@cache
def _failures() -> list[tuple[re.Pattern[str], Promise]]:
    """A pattern for each text in ``FAILURES``; its groups are the parameters."""
    return [
        (re.compile(_PARAMETER.sub(r"(?P<\1>.*)", re.escape(english)), re.DOTALL), text)
        for english, text in FAILURES.items()
    ]
