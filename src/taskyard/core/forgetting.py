"""Delete the inputs of tasks whose type does not keep them (``keep_input=False``).

An input that was deleted is the JSON value null: an input is otherwise an object. The bytes that it
took are given back to the owner. The checkpoint goes too: it may have the arguments of a retry.
"""

from collections.abc import Iterable
from typing import Any

from django.db.models import F, Func, IntegerField, QuerySet, Sum, TextField, Value
from django.db.models.functions import Cast, Greatest, Least

from taskyard.catalog.task_type import registry
from taskyard.core.allowance import ROW_BYTES
from taskyard.core.models import Quota, Task

NULL = Value("null", output_field=TextField())


class _Bytes(Func):
    """The bytes of a text."""

    output_field = IntegerField()
    function = "octet_length"

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        template = "length(CAST(%(expressions)s AS BLOB))"
        return self.as_sql(compiler, connection, template=template, **extra)


def forget_inputs(task_ids: Iterable[int]) -> None:
    """Delete the inputs of these tasks, which this transaction has ended, if their types say so.

    The callers ask only if there are such types at all (``registry.forgetful``). The quotas are
    locked already, because an end releases its place.
    """
    ended = Task.objects.filter(id__in=list(task_ids), task_type__in=registry.forgetful)
    rows = ended.values("owner_id").annotate(freed=Sum(_freed())).order_by("owner_id")
    freed = [(row["owner_id"], row["freed"]) for row in rows]
    if not freed:
        return
    _delete(ended)
    for owner_id, count in freed:
        if owner_id is not None:
            Quota.objects.filter(user_id=owner_id).update(bytes=F("bytes") - count)


def _delete(tasks: "QuerySet[Task]") -> None:
    tasks.update(input_data=NULL, checkpoint=None, size=F("size") - _freed())


def _freed() -> Greatest:
    """What an input counts: at most what is counted beside the row, for a bulk is counted evenly.

    Nothing if it was deleted already.
    """
    taken = _Bytes(Cast("input_data", TextField())) - len("null")
    return Greatest(Least(taken, F("size") - ROW_BYTES), Value(0), output_field=IntegerField())
