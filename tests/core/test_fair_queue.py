"""Tasks of several owners are taken in fair order, from the submit to the claim."""

from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from taskyard import task_type as register
from taskyard.catalog.task_type import registry
from taskyard.core import fair_queue, lifecycle, quotas, transitions
from taskyard.core.fair_queue import Accountant
from taskyard.core.intake import parse_task
from taskyard.core.models import AuditEntry, Share, Task, Worker
from taskyard.core.states import Status
from taskyard.core.types import AttemptResult, UserId
from taskyard.worker import maintenance
from tests.configured import configure
from tests.core.conftest import new_task
from tests.fake_worker import run_in_transaction, take_lease
from tests.people import new_user

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def many_places(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """More places than usual; and the process has seen no queue and run no task yet."""
    configure(settings, ACTIVE_LIMIT=1000)
    for known in ("_looks", "_expected", "_pace", "_breadth", "_last_seen", "_taken"):
        monkeypatch.setattr(fair_queue, known, {})
    monkeypatch.setattr(fair_queue, "_used", defaultdict(float))


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
    rest = [of_one[1:] for of_one in of_each]
    assert taken[:3] in rest
    assert taken[3:] in rest, "all of two of them, each in its order"


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


def test_a_worker_without_a_lease_takes_nothing_also_where_owners_wait(
    owners: list[UserId], worker_id: int
) -> None:
    for owner in owners:
        submit(owner, 3)
    for expected in (1, 0):
        claimed, _ = lifecycle.claim("default", {"sum": 1}, worker_id=worker_id, process=1)
        assert len(claimed) == expected
        Worker.objects.filter(id=worker_id).update(lease_until=Now() - timedelta(seconds=1))


def test_a_look_that_does_not_see_all_begins_behind_the_last_one(
    owners: list[UserId], take: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fair_queue, "MOST_OWNERS", 2)
    submit(owners[0], 9, task_type="unknown-here")
    submit(owners[1], 9, task_type="unknown-here")
    of_cat = submit(owners[2], 3)
    taken: list[int] = []
    for _ in range(4):
        taken += take(1)
        look_again()
    assert taken == of_cat


def test_what_runs_counts_in_a_look(owners: list[UserId], worker_id: int, take: Take) -> None:
    ann, bob, _ = owners
    for _ in range(3):
        submit(ann)
        lifecycle.claim("default", {"sum": 1}, worker_id=worker_id, process=len(owners))
    submit(ann, 5)
    of_bob = submit(bob, 5)
    look_again()
    assert take(2) == of_bob[:2]


@pytest.mark.parametrize(
    ("task_type", "setting", "band"),
    [("sum", "own", 0), ("sum", "global", 1), ("urgent", "own", 1), ("gone", "own", 0)],
)
def test_a_retry_has_the_band_that_a_submit_would_have(
    owners: list[UserId], settings: Any, task_type: str, setting: str, band: int
) -> None:
    @register("urgent", priority="high")
    def urgent(numbers: list[int]) -> None:
        pass

    try:
        configure(settings, ACTIVE_LIMIT=1000, PRIORITY=setting)
        (task_id,) = submit(owners[0], task_type=task_type, priority=2, band=7)
        again = lifecycle.retry(lifecycle.cancel(task_id, by_id=None))
        assert Task.objects.get(id=again.pk).band == band
    finally:
        registry._types.pop("urgent", None)


# What owners have used.


@pytest.fixture
def run(worker_id: int) -> Callable[..., list[UserId | None]]:
    """Run the next task so many times, for so many seconds each by owner; whose they were."""

    def run(claims: int, seconds: dict[UserId | None, float]) -> list[UserId | None]:
        whose: list[UserId | None] = []
        for _ in range(claims):
            (task,), _ = lifecycle.claim("default", {"sum": 1}, worker_id=worker_id, process=1)
            owner = Task.objects.values_list("owner_id", flat=True).get(id=task.id)
            fair_queue.ran(task, seconds[owner])
            transitions.finish([AttemptResult(task, Status.COMPLETED, "1")])
            whose.append(owner)
            look_again_soon()
        return whose

    return run


def look_again_soon() -> None:
    """Let the time of a look be over; what was run since is noted with the next one."""
    for look in fair_queue._looks.values():
        look.until = 0.0


@pytest.fixture
def accountant() -> Accountant:
    return Accountant()


def shares() -> dict[UserId | None, float]:
    return dict(Share.objects.values_list("owner_id", "seconds"))


Run = Callable[..., list[UserId | None]]


def test_seconds_that_were_run_decide(
    owners: list[UserId], run: Run, accountant: Accountant
) -> None:
    ann, bob, _ = owners
    submit(ann, 20)
    submit(bob, 20)
    accountant.settle("default")
    assert shares() == {ann: 0.0, bob: 0.0}
    whose = run(13, {ann: 3.0, bob: 1.0})
    assert whose.count(ann) in (3, 4)
    accountant.settle("default")
    assert abs(shares()[ann] - shares()[bob]) <= 4.0


def test_the_system_tasks_are_counted(
    owners: list[UserId], run: Run, accountant: Accountant
) -> None:
    ann = owners[0]
    submit(ann, 20)
    submit(None, 20)
    accountant.settle("default")
    whose = run(13, {ann: 1.0, None: 3.0})
    assert whose.count(None) in (3, 4)


def test_a_weight_counts(owners: list[UserId], run: Run, accountant: Accountant) -> None:
    ann, bob, _ = owners
    submit(ann, 20)
    submit(bob, 20)
    quotas.change_weight(ann, 4.0, by_id=bob)
    accountant.settle("default")
    assert run(15, {ann: 1.0, bob: 1.0}).count(ann) in (11, 12, 13)
    (entry,) = AuditEntry.objects.all()
    assert (entry.action, entry.details) == ("change_weight", {"before": 1, "after": 4.0})


def test_an_owner_alone_owes_nothing(
    owners: list[UserId], run: Run, accountant: Accountant
) -> None:
    ann, bob, _ = owners
    submit(ann, 9)
    accountant.settle("default")
    run(3, {ann: 100.0})
    accountant.settle("default")
    assert shares() == {}
    submit(bob)
    accountant.settle("default")
    assert shares() == {ann: 0.0, bob: 0.0}


def test_shares_are_forgotten_when_no_two_wait(
    owners: list[UserId], run: Run, accountant: Accountant
) -> None:
    ann, bob, _ = owners
    submit(ann, 2)
    submit(bob, 2)
    accountant.settle("default")
    run(4, {ann: 1.0, bob: 1.0})
    other_worker = Accountant()
    other_worker.settle("default")
    assert shares() == {}


def test_who_is_ahead_when_the_tasks_are_done_goes_on_there(
    owners: list[UserId], run: Run, accountant: Accountant
) -> None:
    ann, bob, cat = owners
    submit(ann)
    submit(bob, 20)
    submit(cat, 20)
    accountant.settle("default")
    run(6, {ann: 30.0, bob: 1.0, cat: 1.0})
    accountant.settle("default")
    assert shares()[ann] == 30.0
    submit(ann)
    assert ann not in run(6, {ann: 30.0, bob: 1.0, cat: 1.0})


def test_who_comes_and_who_waited_in_vain_begin_at_the_floor(
    owners: list[UserId], run: Run, accountant: Accountant
) -> None:
    ann, bob, cat = owners
    submit(cat, task_type="unknown-here", band=-1)
    submit(ann, 20)
    submit(bob, 20)
    accountant.settle("default")
    run(8, {ann: 5.0, bob: 5.0})
    accountant.settle("default")
    assert 15.0 <= shares()[cat] <= 20.0, "waiting for a worker saves nothing"
    newcomer = new_user("dan").pk
    submit(newcomer, 20)
    accountant.settle("default")
    assert run(9, {ann: 5.0, bob: 5.0, newcomer: 5.0}).count(newcomer) in (3, 4)


def test_a_share_that_is_locked_holds_nobody_up(
    owners: list[UserId], run: Run, accountant: Accountant
) -> None:
    ann, bob, _ = owners
    submit(ann, 5)
    submit(bob, 5)
    accountant.settle("default")
    run(4, {ann: 1.0, bob: 1.0})
    Share.objects.filter(owner_id=ann).update(seconds=-5.0)
    settled = Thread(target=lambda: (accountant.settle("default"), connection.close()))
    with transaction.atomic():
        Share.objects.select_for_update().get(owner_id=ann)
        if connection.vendor == "postgresql":
            settled.start()
            settled.join(timeout=10)
            assert not settled.is_alive()


def test_owners_in_other_bands_have_shares(owners: list[UserId], accountant: Accountant) -> None:
    submit(owners[0], 2, band=1)
    submit(owners[1], 2, band=0)
    submit(owners[2], 2, band=-7)
    accountant.settle("default")
    assert set(shares()) == set(owners)


def test_only_the_oldest_worker_settles(owners: list[UserId], worker_id: int) -> None:
    for owner in owners:
        submit(owner)
    younger = take_lease("default")
    maintenance.settle_shares(younger, Accountant())
    assert shares() == {}
    maintenance.settle_shares(worker_id, Accountant())
    assert set(shares()) == set(owners)
