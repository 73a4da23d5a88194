"""Repair ``Task.changed`` after a dump was restored into another PostgreSQL cluster.

``Task.changed`` is the number of a transaction. A dump that is restored into another cluster keeps
the numbers of its own, which may be ahead: streams take such a row for a change still to come.
"""

from django.db import connection
from django.db.models import Q

from taskyard.core.models import Task

# Of what has ended only the newest are looked at: no index finds the rest.
NEWEST = 10_000


def are_of_another_cluster() -> bool:
    """Whether tasks have been changed by transactions that this cluster has not begun."""
    if connection.vendor != "postgresql":
        return False
    ahead = _ahead()
    newest = Task.objects.order_by("-id").values("id")[:NEWEST]
    return (
        Task.objects.active().filter(ahead).exists()
        or Task.objects.filter(ahead, id__in=newest).exists()
    )


def forget_another_cluster() -> int:
    """Let those changes be long past; how many there were."""
    return Task.objects.filter(_ahead()).update(changed=0) if are_of_another_cluster() else 0


def _ahead() -> Q:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        return Q(changed__gte=cursor.fetchone()[0])
