"""The errors of requests that a rule rejects. They have a code and do not depend on HTTP."""

from typing import Any


class Rejected(Exception):
    """A request that a rule of the lifecycle rejects."""

    code = "refused"

    def __init__(self, **params: Any) -> None:
        super().__init__(self.code, params)
        self.params = params

    def __str__(self) -> str:
        """What the class says of itself, and the parameters: for the developer who calls us."""
        said = (type(self).__doc__ or self.code).splitlines()[0].replace("``", "")
        return " ".join([said, *(f"{name}={value!r}" for name, value in self.params.items())])


class NotCancellable(Rejected):
    """The task has completed or failed, so it cannot be cancelled."""

    code = "already_finished"


class NotRetryable(Rejected):
    """Only a task that ended in error or was cancelled can be retried."""

    code = "not_retryable"


class InputNotKept(Rejected):
    """The input was deleted when the task ended, so it cannot be retried."""

    code = "input_not_kept"


class EncryptionUnavailable(Rejected):
    """A secret cannot be encrypted: ``ENCRYPTION_KEYS`` is empty, or a package is missing."""

    code = "encryption_unavailable"


class SecretUnreadable(Rejected):
    """No key of ``ENCRYPTION_KEYS`` decrypts a secret; ``key`` is the id of the one that would."""

    code = "secret_unreadable"


class StillActive(Rejected):
    """An active task cannot be deleted; cancel it first."""

    code = "task_active"


class StillReferenced(Rejected):
    """A row of the host project protects the task from being deleted."""

    code = "task_referenced"


class KeyReused(Rejected):
    """The idempotency key belongs to a request with another body."""

    code = "idempotency_key_reused"


class QuotaExceeded(Exception):
    """The base of the errors for owners who have, or submit, as much as allowed."""


class SubmitRateExceeded(QuotaExceeded, Rejected):
    """The owner submits too fast, and can try again in ``retry_after`` seconds."""

    code = "submit_rate_exceeded"

    def __init__(self, *, rate: str, retry_after: int) -> None:
        super().__init__(rate=rate, retry_after=retry_after)
        self.retry_after = retry_after


class BytesExceeded(QuotaExceeded, Rejected):
    """The owner's tasks take as many bytes as allowed (``limit``)."""

    code = "bytes_limit_exceeded"


class ActiveLimitExceeded(QuotaExceeded, Rejected):
    """The owner has as many active tasks as allowed (``limit``)."""

    code = "active_limit_exceeded"

    def __init__(self, limit: int) -> None:
        super().__init__(limit=limit)
        self.limit = limit


class Unproven(Exception):
    """A submit with a proof was not accepted; the caller has to verify the credential."""
