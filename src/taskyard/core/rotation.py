"""Encrypt stored secrets again with the first key, beside running workers.

Rows are looked at by ascending id, some thousands at a time, and written in short transactions: a
row that another transaction has locked is left for the next pass, and a row that has changed
meanwhile is left as it is. Nothing is stored between two runs. A row that is done needs no write,
so a run that was interrupted is simply started again.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import Q, TextField, Value
from django.db.models.functions import Cast

from taskyard.catalog.places import Number, Path, Schema, rewritten
from taskyard.catalog.secrets import DOTS, is_secret
from taskyard.catalog.task_type import TaskType, UnknownTaskType, registry
from taskyard.core import encryption
from taskyard.core.encryption import ENVELOPE
from taskyard.core.errors import EncryptionUnavailable, SecretUnreadable
from taskyard.core.models import Task

WINDOW = 5000
BATCH = 100
# New tasks may come while a pass runs.
MOST_PASSES = 10
# The id, the task type and the input as JSON text.
Row = tuple[int, str, str]


@dataclass
class Counts:
    """What a rotation did: secrets that it encrypted again, and those that were in clear before.

    ``unreadable`` counts secrets by the id of their key: the key is not in the setting, or the
    secret is damaged. ``others`` counts secrets that are still under another key than the first.
    """

    again: int = 0
    were_clear: int = 0
    tasks: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)


def rotate(on_window: Callable[[int], None] = lambda task_id: None) -> Counts:
    """Encrypt with the first key what is under another one, or in clear; ``others`` is then empty.

    ``on_window`` is called with the last id after each few thousand tasks. Raises
    EncryptionUnavailable.
    """
    if not (encryption.keys() and encryption.is_installed()):
        raise EncryptionUnavailable
    counts = Counts()
    for _ in range(MOST_PASSES):
        counts.unreadable.clear()
        counts.others.clear()
        before = counts.tasks
        for rows in _windows(on_window):
            for first in range(0, len(rows), BATCH):
                _rotate_batch(rows[first : first + BATCH], counts)
        if counts.tasks == before and not counts.others:
            break
    return counts


def _windows(on_window: Callable[[int], None]) -> Iterator[list[Row]]:
    """The rows that may have secrets."""
    beyond = 0
    while True:
        following = Task.objects.filter(id__gt=beyond).order_by("id")
        ids = list(following.values_list("id", flat=True)[:WINDOW])
        if not ids:
            return
        window = Task.objects.filter(id__gt=beyond, id__lte=ids[-1])
        texts = window.annotate(input_text=Cast("input_data", TextField()))
        may_have = Q(task_type__in=registry.with_secrets) | Q(
            input_text__contains=encryption.PREFIX
        )
        yield list(
            texts.filter(may_have).order_by("id").values_list("id", "task_type", "input_text")
        )
        beyond = ids[-1]
        on_window(beyond)


def _rotate_batch(rows: Sequence[Row], counts: Counts) -> None:
    changed: dict[int, tuple[str, str, Counter[str]]] = {}
    for task_id, task_type, text in rows:
        found = _Rewriting(task_type)
        new = found.rewrite(text)
        counts.unreadable.update(found.unreadable)
        if found.done:
            changed[task_id] = (text, new, found.done)
    if not changed:
        return
    with transaction.atomic():
        free = Task.objects.filter(id__in=list(changed)).lock_skipping()
        for task_id in sorted(free.values_list("id", flat=True)):
            old, new, done = changed.pop(task_id)
            same = Task.objects.annotate(input_text=Cast("input_data", TextField())).filter(
                id=task_id, input_text=old
            )
            if same.update(input_data=Value(new, output_field=TextField())):
                counts.tasks += 1
                counts.were_clear += done.pop("", 0)
                counts.again += done.total()
    for _, _, done in changed.values():
        counts.others.update(done)


class _Rewriting:
    """Encrypts the secrets of one input again.

    ``done`` counts them by the id of the key that they had, "" if they were in clear.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._task_type = _known(name)
        self.done: Counter[str] = Counter()
        self.unreadable: Counter[str] = Counter()

    def rewrite(self, text: str) -> str:
        schema = {} if self._task_type is None else self._task_type.input_schema
        return rewritten(text, schema, self._change)

    def _change(self, value: object, schemas: list[Schema], path: Path) -> object:
        if not isinstance(value, str) or isinstance(value, Number) or value == DOTS:
            return value
        is_place = self._has_secrets and any(map(is_secret, schemas))
        match = ENVELOPE.fullmatch(value)
        if match is None:
            return self._encrypted(value, "", path) if is_place else value
        if match[1] == encryption.keys()[0].id:
            return value
        try:
            secret = encryption.decrypted(self._name, value, path)
        except SecretUnreadable:
            # At another place of a known type it may be any text.
            if is_place or self._task_type is None:
                self.unreadable[match[1]] += 1
            return value
        return self._encrypted(secret, match[1], path)

    @property
    def _has_secrets(self) -> bool:
        return self._task_type is not None and self._task_type.secrets is not None

    def _encrypted(self, secret: str, former_key: str, path: Path) -> str:
        self.done[former_key] += 1
        return encryption.encrypted(self._name, secret, path)


def _known(name: str) -> TaskType | None:
    try:
        return registry.get(name)
    except UnknownTaskType:
        return None
