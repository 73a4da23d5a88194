"""Links that show one task without a user, until they expire.

A link's token is signed and stored nowhere, so a dump of the database holds none. It contains the
task's id, its expiry, and a mark of the owner's credentials and of the task: a changed password, a
suspended owner or a deleted task ends all links, and so does what apps ``require``. Nothing ends a
single link before it expires.
"""

import base64
import math
import re
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import Q
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.html import escape

from taskyard.core import audit
from taskyard.core.errors import Rejected
from taskyard.core.models import Task
from taskyard.core.types import LARGEST_ID

USUAL_SECONDS = 24 * 3600
MOST_SECONDS = 30 * 24 * 3600
SCRIPT = "taskyard/progress.js"
# The number is the version of the format.
_PREFIX = "tys1_"
_SALT = "taskyard.core.sharing.1"
# Flags, the task's id, the expiry in seconds of the epoch; then the mark and the signature.
_CONTENT = struct.Struct(">BQI")
_MARK_BYTES, _SIGNATURE_BYTES = 9, 20
_WITH_FILES = 1
# Of the tasks that links may show; apps above core register them in ``AppConfig.ready``.
_conditions: list[Callable[[], Q]] = []
# 42 bytes: in Base64 without padding, so that each token has one spelling.
_TOKEN = re.compile(rf"{_PREFIX}([A-Za-z0-9_-]{{56}})", re.ASCII)


class ShareRefused(Rejected):
    """The token of a link is missing, wrong or expired."""

    code = "share_not_valid"


@dataclass(frozen=True)
class Link:
    """A new link. Its token is shown once."""

    token: str
    expires_at: datetime
    files: bool


@dataclass(frozen=True)
class Claim:
    """What a token says that we signed. Only the database knows whether it still holds."""

    task_id: int
    expires_at: int
    files: bool
    mark: bytes
    key: int
    """Which of the project's keys has signed it: 0 is the current one."""


@dataclass(frozen=True)
class Share:
    """A task, and what of it a valid token shows until when."""

    task: Task
    expires_at: int
    files: bool


def require(condition: Callable[[], Q]) -> None:
    """Let links show only the tasks for which ``condition`` holds, too."""
    _conditions.append(condition)


def create(task: Task, owner: AbstractBaseUser, *, seconds: int, files: bool) -> Link:
    """Make a link for ``seconds``, with or without the files that the task saves.

    The owner is the task's. Writes a line of the audit log.
    """
    expires_at = math.ceil(time.time() + seconds)
    content = _CONTENT.pack(_WITH_FILES if files else 0, task.pk, expires_at)
    signed = content + _mark(task, owner, key=0)
    token = _PREFIX + base64.urlsafe_b64encode(signed + _signature(signed, key=0)).decode()
    moment = datetime.fromtimestamp(expires_at, UTC)
    audit.record(owner.pk, "share_task", str(task.pk), expires_at=moment.isoformat(), files=files)
    return Link(token, moment, files)


def decode(token: str) -> Claim:
    """What a token says that we signed and that has not expired.

    Uses no database. Raises ShareRefused.
    """
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise ShareRefused
    raw = base64.urlsafe_b64decode(match[1])
    signed, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    keys = range(len(_secrets()))
    key = next((k for k in keys if constant_time_compare(signature, _signature(signed, k))), None)
    flags, task_id, expires_at = _CONTENT.unpack(signed[: _CONTENT.size])
    if key is None or expires_at <= time.time() or task_id > LARGEST_ID:
        raise ShareRefused
    return Claim(task_id, expires_at, bool(flags & _WITH_FILES), signed[_CONTENT.size :], key)


def read(token: str) -> Share:
    """The task that a token shows, in one query. Raises ShareRefused."""
    claim = decode(token)
    tasks = Task.objects.select_related("owner").defer("checkpoint", "input_data")
    conditions = [condition() for condition in _conditions]
    task = tasks.filter(*conditions, pk=claim.task_id, owner__isnull=False).first()
    if task is None or task.owner is None or not task.owner.is_active:
        raise ShareRefused
    if not constant_time_compare(claim.mark, _mark(task, task.owner, claim.key)):
        raise ShareRefused
    return Share(task, claim.expires_at, claim.files)


def page_url(request: HttpRequest, token: str) -> str | None:
    """The address of the page for a link; None without our pages.

    The token is behind a #, so browsers send it in no request and no Referer.
    """
    try:
        return request.build_absolute_uri(f"{reverse('taskyard_web:shared')}#{token}")
    except NoReverseMatch:
        return None


def snippet(request: HttpRequest, token: str, *, api: str = "taskyard_api") -> str | None:
    """HTML that shows the task on any site; None if the project serves no static files.

    ``api`` is the namespace of the URLs of the API.
    """
    try:
        script = static(SCRIPT)
        source = f"{reverse(f'{api}:shared').removesuffix('/')}/"
    except (NoReverseMatch, ValueError):  # a storage with a manifest has not collected the script
        return None
    html = (
        '<script src="{}" defer></script>\n'
        '<taskyard-progress src="{}" token="{}"></taskyard-progress>'
    )
    urls = (request.build_absolute_uri(path) for path in (script, source))
    return html.format(*map(escape, urls), token)


def _secrets() -> list[str]:
    return [str(key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]


def _signature(signed: bytes, key: int) -> bytes:
    return salted_hmac(_SALT, signed, secret=_secrets()[key], algorithm="sha256").digest()[
        :_SIGNATURE_BYTES
    ]


def _mark(task: Task, owner: AbstractBaseUser, key: int) -> bytes:
    """What changes with the owner's password, and differs for another task of the same id."""
    auth_hash = next(islice(_auth_hashes(owner), key, None), "")
    marked = f"{owner.pk} {auth_hash} {task.created_at.timestamp()!r}"
    return salted_hmac(
        f"{_SALT}.mark", marked, secret=_secrets()[key], algorithm="sha256"
    ).digest()[:_MARK_BYTES]


def _auth_hashes(owner: AbstractBaseUser) -> Iterator[str]:
    """The hash of the owner's credentials, as sessions have it, by each of the project's keys."""
    yield owner.get_session_auth_hash()
    yield from owner.get_session_auth_fallback_hash()
