"""The errors of accounts. Each has a code; the API maps it to an HTTP status."""

from taskyard.core.errors import Rejected


class TokenRefused(Rejected):
    """The token or the API key is invalid, expired or revoked."""

    code = "token_not_valid"


class LoginRefused(Rejected):
    """No active user has this name and password. The client does not learn which part is wrong."""

    code = "no_active_account"


class Throttled(Rejected):
    """Too many requests. The client may try again in ``retry_after`` seconds."""

    code = "throttled"

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after=retry_after)
        self.retry_after = retry_after


class TooManyKeys(Rejected):
    """The user has as many API keys as allowed (``limit``)."""

    code = "too_many_keys"


class OnBehalfRefused(Rejected):
    """On-Behalf-Of is only for the key of a service account."""

    code = "on_behalf_refused"


class SubjectInvalid(Rejected):
    """The header or the path holds no name of a subject."""

    code = "subject_invalid"


class SubjectSuspended(Rejected):
    """Staff has suspended the subject."""

    code = "subject_suspended"


class TooManySubjects(Rejected):
    """The service account has as many subjects as allowed (``limit``)."""

    code = "too_many_subjects"


class PasswordLoginOff(Rejected):
    """Registration and login by password are off (TASKYARD_PASSWORD_LOGIN)."""

    code = "password_login_off"


class SsoOff(Rejected):
    """Single sign-on is not configured, or not for this."""

    code = "sso_off"


class SsoUnavailable(Rejected):
    """The provider of single sign-on does not answer, and no kept document is young enough."""

    code = "sso_unavailable"
    retry_after = 2


class SsoExpired(Rejected):
    """The answer of the provider belongs to no sign-in that this browser has begun of late."""

    code = "sso_expired"


class SsoDenied(Rejected):
    """The provider has refused to sign the person in; ``error`` is its code."""

    code = "sso_denied"


class SsoInvalid(Rejected):
    """The provider's answer is not valid: its code, its issuer or its ID token."""

    code = "sso_invalid"


class SsoSuspended(Rejected):
    """The person is known and suspended here."""

    code = "sso_suspended"


class RegistrationClosed(Rejected):
    """Users cannot register themselves here (TASKYARD_REGISTRATION)."""

    code = "registration_closed"


class MailNotConfigured(Rejected):
    """This installation sends no mail, so it cannot send a link to reset a password."""

    code = "mail_not_configured"


class MailBusy(Rejected):
    """Too many mails wait to be sent."""

    code = "mail_busy"

    def __init__(self) -> None:
        super().__init__()
        self.retry_after = 60
