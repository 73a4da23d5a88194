"""Tasks of several owners are taken in fair order, from the submit to the claim."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from taskyard.core import fair_queue, lifecycle, quotas, transitions
from taskyard.core.fair_queue import Accountant
from taskyard.core.intake import parse_task
from taskyard.core.models import AuditEntry, Quota, Share, Task
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult, UserId
from tests.configured import configure
from tests.core.conftest import new_task
from tests.fake_worker import run_in_transaction, take_lease
from tests.people import new_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def many_places(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """More places than usual; and the process has seen no queue and run no task yet."""
    configure(settings, ACTIVE_LIMIT=1000)
    for known in (fair_queue._looks, fair_queue._expected, fair_queue._pace, fair_queue._breadth):
        monkeypatch.setattr(fair_queue, known_name(known), {})


def known_name(known: object) -> str:
    return next(name for name, value in vars(fair_queue).items() if value is known)


@pytest.fixture
def owners(db: None) -> list[UserId]:
    return [new_user(name).pk for name in ("ann", "bob", "cat")]


@pytest.fixture
def worker_id(db: None) -> int:
    return take_lease("default", "other")


Take = Callable[..., list[int]]


@pytest.fixture
def take(worker_id: int) -> Take:
    """Claim and end the next tasks, so many at a time; their ids."""

    def take(claims: int, batch: int = 1, **sizes: int) -> list[int]:
        taken: list[int] = []
        for _ in range(claims):
            claimed, _more = lifecycle.claim(
                "default", sizes or {"sum": batch}, worker_id=worker_id, process=1
            )
            transitions.finish([AttemptResult(task, Status.COMPLETED, "1") for task in claimed])
            taken += [task.id for task in claimed]
        return taken

    return take


def submit(owner: UserId | None, many: int = 1, **options: Any) -> list[int]:
    return lifecycle.submit_all(owner, [new_task(**options)] * many)


def look_again() -> None:
    """Let the process look again who waits, as it does after LOOK_SECONDS."""
    fair_queue._looks.clear()


def test_a_newcomer_is_next(owners: list[UserId], take: Take) -> None:
    ann, bob, _ = owners
    of_ann = submit(ann, 20)
    assert take(3) == of_ann[:3]
    of_bob = submit(bob, 2)
    taken = take(4)
    assert of_bob[0] in taken[:2]
    assert set(taken) == {*of_bob, *of_ann[3:5]}


def test_each_owners_tasks_follow_by_priority_and_age(owners: list[UserId], take: Take) -> None:
    ann, bob, _ = owners
    low, *normal = submit(ann, 1, priority=0) + submit(ann, 3)
    of_bob = submit(bob, 5)
    (high,) = submit(ann, priority=2)
    taken = take(10)
    assert [task for task in taken if task not in of_bob] == [high, *normal, low]
    assert [task for task in taken if task in of_bob] == of_bob


def test_a_priority_jumps_no_other_owner(owners: list[UserId], take: Take) -> None:
    ann, bob, _ = owners
    of_bob = submit(bob, 5)
    of_ann = submit(ann, 5, priority=2)
    taken = take(4)
    assert len(set(taken) & set(of_bob)) == len(set(taken) & set(of_ann)) == 2


@pytest.mark.parametrize("setting", ["own", "global"])
def test_the_setting_lets_a_priority_count_between_owners(
    owners: list[UserId], take: Take, settings: Any, setting: str
) -> None:
    configure(settings, ACTIVE_LIMIT=1000, PRIORITY=setting)
    given = {"task_type": "sum", "input_data": {"numbers": [1]}}
    normal = submit(owners[0], 3)
    new = parse_task({**given, "priority": "high"})
    high = lifecycle.submit_all(owners[1], [new, new])
    assert (take(2) == high) is (setting == "global")
    assert set(take(3)) == {*normal} if setting == "global" else True


def test_the_priority_of_system_tasks_counts_between_owners(
    owners: list[UserId], take: Take
) -> None:
    low, normal = submit(None, priority=0), submit(owners[0])
    high, highest = submit(None, priority=2), submit(None, priority=50)
    assert take(4) == [*highest, *high, *normal, *low]


def test_system_tasks_are_one_owner(owners: list[UserId], take: Take) -> None:
    system, of_ann = submit(None, 10), submit(owners[0], 10)
    taken = take(6)
    assert len(set(taken) & set(system)) == len(set(taken) & set(of_ann)) == 3


def test_a_batch_takes_the_tasks_of_several_owners(owners: list[UserId], take: Take) -> None:
    of_each = [submit(owner, 4) for owner in owners]
    taken = take(1, batch=6)
    assert len(taken) == 3, "of tasks that are expected to take a second, one of each"
    fair_queue.expect("sum", 0.001)
    look_again()
    fair_queue._pace["default"] = 0.001
    taken = take(1, batch=6)
    assert taken == [*of_each[0][1:], *of_each[1][1:]]


def test_types_with_batches_are_no_reason_to_take_any_task(
    owners: list[UserId], take: Take
) -> None:
    ann, bob, _ = owners
    of_ann, of_bob = submit(ann, 5, task_type="slow"), submit(bob, 2, task_type="slow")
    assert set(take(4, sum=100, slow=1)) == {*of_ann[:2], *of_bob}


def test_who_was_served_less_in_this_moment_is_next(owners: list[UserId], take: Take) -> None:
    fair_queue.expect("sum", 3.0)
    fair_queue.expect("countdown", 1.0)
    ann, bob, _ = owners
    submit(ann, 9)
    submit(bob, 9, task_type="countdown")
    taken = Task.objects.in_bulk(take(8, sum=1, countdown=1))
    assert sum(task.owner_id == ann for task in taken.values()) == 2


def test_the_fast_path_is_fair_too(owners: list[UserId]) -> None:
    fair_queue.expect("sum", 0.05)
    of_each = [submit(owner, 20) for owner in owners]
    ran: list[int] = []

    def run(locked: lifecycle.LockedTasks) -> list[AttemptResult]:
        ran.extend(task.id for task in locked)
        return [AttemptResult(task, Status.COMPLETED, "1") for task in locked]

    for _ in range(3):
        run_in_transaction("default", {"sum": 6}, run)
    assert not Task.objects.filter(id__in=ran).exclude(status=Status.COMPLETED).exists()
    shares = [len(set(ran) & set(of_one)) for of_one in of_each]
    assert max(shares) - min(shares) <= 2, shares


def test_an_owner_whose_tasks_this_process_cannot_run_stops_nobody(
    owners: list[UserId], take: Take
) -> None:
    submit(owners[0], 5, task_type="unknown-here", priority=2)
    submit(None, 5, task_type="unknown-here", priority=9)
    of_bob, of_cat = submit(owners[1], 2), submit(owners[2], 2)
    assert set(take(4)) == {*of_bob, *of_cat}
    assert take(1) == []


def test_a_paused_queue_gives_nothing(owners: list[UserId], take: Take) -> None:
    from taskyard.core import queues

    for owner in owners:
        submit(owner, 5)
    assert len(take(1)) == 1
    queues.pause("default", by_id=owners[0])
    assert take(2) == []
    look_again()
    assert take(2) == []


def test_who_waits_is_asked_only_if_there_is_a_choice(owners: list[UserId], worker_id: int) -> None:
    def asked(batch: int) -> int:
        with CaptureQueriesContext(connection) as queries:
            lifecycle.claim("default", {"sum": batch}, worker_id=worker_id, process=1)
        return sum("RECURSIVE waiting" in query["sql"] for query in queries.captured_queries)

    submit(owners[0], 10)
    assert asked(1) == 0
    submit(owners[1], 3)
    assert asked(1) == 1
    assert asked(1) == 0, "what was seen holds for a moment"
    look_again()
    assert asked(50) == 0, "all that is ready is taken"


# What owners have used.


@pytest.fixture
def used(worker_id: int) -> Callable[..., None]:
    """Let a task of an owner have run for so many seconds since the last count."""

    def used(owner: UserId | None, seconds: float, *, ends: bool = True) -> None:
        submit(owner, task_type="slow")
        (claimed,), _ = lifecycle.claim("default", {"slow": 1}, worker_id=worker_id, process=3)
        began = F("claimed_at") - timedelta(seconds=seconds)
        Task.objects.filter(id=claimed.id).update(claimed_at=began)
        if ends:
            transitions.finish([AttemptResult(claimed, Status.COMPLETED, "1")])

    return used


@pytest.fixture
def accountant() -> Accountant:
    return Accountant()


def count_again(accountant: Accountant) -> None:
    """Count once more, an hour after the last time, because the time of tests is short."""
    accountant._counted = {
        queue: (at - 3600, snapshot) for queue, (at, snapshot) in accountant._counted.items()
    }
    accountant.count("default")


def shares() -> dict[UserId | None, float]:
    return dict(Share.objects.values_list("owner_id", "seconds"))


def test_who_has_really_used_more_waits(
    owners: list[UserId], take: Take, used: Callable[..., None], accountant: Accountant
) -> None:
    ann, bob, _ = owners
    of_ann, of_bob = submit(ann, 4), submit(bob, 4)
    accountant.count("default")
    assert set(shares().values()) == {0.0}
    used(ann, 2.5)
    count_again(accountant)
    look_again()
    assert take(8) == [*of_bob[:3], of_ann[0], of_bob[3], *of_ann[1:]]


def test_the_system_tasks_are_counted(
    owners: list[UserId], used: Callable[..., None], accountant: Accountant
) -> None:
    submit(owners[0], 4)
    submit(None, 4)
    accountant.count("default")
    used(None, 2.0)
    for _ in range(2):
        count_again(accountant)
    assert shares()[owners[0]] == 0.0
    assert 2.0 <= shares()[None] < 2.2


def test_a_running_task_counts_while_it_runs(
    owners: list[UserId], used: Callable[..., None], accountant: Accountant
) -> None:
    ann, bob, _ = owners
    submit(ann, 4)
    submit(bob, 4)
    accountant.count("default")
    used(ann, 7200.0, ends=False)
    count_again(accountant)
    assert 3599 < shares()[ann] < 3610, "of the last hour"
    assert shares()[bob] == 0.0


def test_a_weight_counts(
    owners: list[UserId], used: Callable[..., None], accountant: Accountant
) -> None:
    ann, bob, _ = owners
    submit(ann, 4)
    submit(bob, 4)
    quotas.change_weight(ann, 4.0, by_id=bob)
    accountant.count("default")
    used(ann, 4.0)
    used(bob, 1.0)
    count_again(accountant)
    assert abs(shares()[ann] - shares()[bob]) < 0.2
    (entry,) = AuditEntry.objects.all()
    assert (entry.action, entry.details) == ("change_weight", {"before": 1, "after": 4.0})


def test_an_owner_alone_owes_nothing(
    owners: list[UserId], used: Callable[..., None], accountant: Accountant
) -> None:
    ann, bob, _ = owners
    submit(ann, 5)
    accountant.count("default")
    used(ann, 100.0)
    count_again(accountant)
    assert shares() == {}
    submit(bob)
    accountant.count("default")
    assert set(shares().values()) == {0.0}


def test_what_was_counted_is_forgotten_when_nobody_waits_for_another(
    owners: list[UserId], take: Take, used: Callable[..., None], accountant: Accountant
) -> None:
    ann, bob, _ = owners
    submit(ann, 2)
    submit(bob, 2)
    accountant.count("default")
    used(ann, 5.0)
    count_again(accountant)
    assert shares()
    take(4)
    accountant.count("default")
    assert shares() == {}
    with CaptureQueriesContext(connection) as queries:
        accountant.count("default")
    assert len(queries) == 1


def test_another_worker_goes_on_where_the_first_one_stopped(
    owners: list[UserId], used: Callable[..., None], accountant: Accountant
) -> None:
    ann, bob, _ = owners
    submit(ann, 4)
    submit(bob, 4)
    accountant.count("default")
    used(ann, 5.0)
    count_again(accountant)
    before = shares()
    other = Accountant()
    other.count("default")
    assert shares() == before
    used(ann, 1.0)
    count_again(other)
    assert shares()[ann] >= before[ann] + 1.0


def test_owners_in_other_bands_are_counted(
    owners: list[UserId], used: Callable[..., None], accountant: Accountant
) -> None:
    submit(owners[0], 2, band=1)
    submit(owners[1], 2, band=0)
    submit(owners[2], 2, band=-7)
    accountant.count("default")
    assert set(shares()) == set(owners)


def test_a_deleted_user_is_no_owner(owners: list[UserId], accountant: Accountant) -> None:
    for owner in owners:
        submit(owner)
    accountant.count("default")
    Quota.objects.filter(user_id=owners[0]).update(active=0)
    Task.objects.filter(owner_id=owners[0]).delete()
    new_user_model = type(Share.objects.get(owner_id=owners[0]).owner)
    new_user_model._default_manager.filter(pk=owners[0]).delete()
    accountant.count("default")
    assert set(shares()) == set(owners[1:])
