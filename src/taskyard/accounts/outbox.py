"""Send mails in a thread, so that no request waits for a mail server.

A request puts a job into a queue and is answered. The thread looks up who gets a mail, writes the
mails and sends them, so the time of an answer does not depend on whether there is such a user. The
queue is in memory: a process that is killed loses what waits, and the user asks again.
"""

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from smtplib import SMTPException, SMTPRecipientsRefused, SMTPResponseException
from typing import TypeVar

from django.core.mail import EmailMessage
from django.db import Error, connections

from taskyard.accounts.errors import MailBusy
from taskyard.core.conf import conf

MOST_WAITING = 1000
# How long to wait before each try.
PAUSES_SECONDS = (0.0, 5.0, 30.0)

Result = TypeVar("Result")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mail:
    to: str
    subject: str
    text: str


Job = Callable[[], list[Mail]]

_jobs: queue.Queue[Job] = queue.Queue(MOST_WAITING)
_starting = threading.Lock()
_closing = threading.Event()
_thread: threading.Thread | None = None


def put(job: Job) -> None:
    """Send the mails that ``job`` writes, soon. Raises MailBusy if too many wait."""
    global _thread
    try:
        _jobs.put_nowait(job)
    except queue.Full:
        raise MailBusy from None
    with _starting:
        # After a fork the thread is not alive.
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_run, name="taskyard-mail", daemon=True)
            _thread.start()


def require_room() -> None:
    """Raises MailBusy if too many mails wait."""
    if _jobs.full():
        raise MailBusy


def wait(seconds: float) -> bool:
    """Wait until no mail waits; False if the time was not enough."""
    with _jobs.all_tasks_done:
        return _jobs.all_tasks_done.wait_for(lambda: not _jobs.unfinished_tasks, seconds)


def close(seconds: float) -> None:
    """Send what waits, each mail in one try, for so many seconds at most."""
    _closing.set()
    if not wait(seconds):
        logger.error("mails dropped", extra={"count": _jobs.unfinished_tasks})


def send(mail: Mail) -> None:
    """Send a mail now. Raises OSError, as smtplib does."""
    EmailMessage(
        mail.subject,
        mail.text,
        from_email=conf().EMAIL_FROM,
        to=[mail.to],
        # RFC 3834: no out-of-office replies.
        headers={"Auto-Submitted": "auto-generated"},
    ).send()


def explain(error: Exception) -> str:
    """What went wrong, without the address and the text of the mail."""
    if isinstance(error, SMTPResponseException):
        return f"{type(error).__name__} {error.smtp_code}"
    if isinstance(error, SMTPRecipientsRefused):
        return f"{type(error).__name__} {', '.join(map(str, _codes(error)))}"
    if isinstance(error, SMTPException | Error):
        return type(error).__name__
    return f"{type(error).__name__}: {error}"


def _run() -> None:
    while True:
        job = _jobs.get()
        try:
            for mail in _try(job) or ():
                _try(partial(send, mail))
        except Exception:
            logger.exception("mail failed")
        finally:
            connections.close_all()
            _jobs.task_done()


def _try(action: Callable[[], Result]) -> Result | None:
    """The result of a database's or a mail server's action; None if each try failed."""
    for tries_left, pause in zip(range(len(PAUSES_SECONDS))[::-1], PAUSES_SECONDS, strict=True):
        if pause and _closing.wait(pause):
            break
        try:
            return action()
        except (Error, OSError) as error:
            logger.error("mail not sent", extra={"why": explain(error), "tries_left": tries_left})
            # A code of 400 is for now, such as that of greylisting; one of 500 is for ever.
            if isinstance(error, SMTPRecipientsRefused) and any(
                code >= 500 for code in _codes(error)
            ):
                break
    return None


def _codes(error: SMTPRecipientsRefused) -> list[int]:
    return sorted({code for code, _text in error.recipients.values()})
