"""The overview: the current state, the history, and the cost of the queries."""

import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from taskyard.accounts.models import User
from taskyard.core import queues, stats
from taskyard.core.conf import conf
from taskyard.core.engine import engine
from taskyard.core.models import Task, Worker
from taskyard.core.states import Status
from taskyard.server import child_process
from taskyard.server.valkey import Valkey
from taskyard.web.staff import charts, history_stats
from tests.configured import configure
from tests.fake_worker import FakeWorker

Submit = Callable[..., Task]


def test_it_says_what_there_is_now(page: Client, submit: Submit, fake_worker: FakeWorker) -> None:
    for _ in range(4):
        submit()
    submit(run_at=timezone.now() + timedelta(hours=1))
    done, bad, sleeps = fake_worker.claim(3)
    fake_worker.finish(done, Status.COMPLETED)
    fake_worker.finish(bad, Status.ERROR, error_code="no", error_message="no")
    later = timezone.now() + timedelta(hours=1)
    fake_worker.finish(sleeps, Status.IN_PROGRESS, wake_at=later, resumes=True)
    (_held,) = fake_worker.claim(1)
    submit()
    context = page.get("/staff/").context
    assert context["total"] == stats.Depth(
        waiting=1, scheduled=1, suspended=1, running=1, oldest=context["total"].oldest
    )
    assert 0 <= context["total"].oldest_seconds < 60
    assert context["ended"] == stats.Ended(completed=1, error=1, cancelled=0)
    assert (context["slots"], context["in_use"]) == (1, 1)
    assert [chart.completed for chart in context["charts"]] == [1, 1]
    assert [chart.failed for chart in context["charts"]] == [1, 1]


def test_it_shows_workers_those_that_are_lost_too(page: Client, fake_worker: FakeWorker) -> None:
    Worker.objects.create(
        host="gone ns",
        pid=7,
        concurrency=4,
        queues=["default"],
        version="0.0.9",
        lease_until=timezone.now() - timedelta(minutes=5),
    )
    alive, lost = page.get("/staff/").context["workers"]
    assert (alive.alive, alive.slots, alive.beat_seconds < 60) == (True, 1, True)
    assert (lost.alive, lost.host, lost.version) == (False, "gone", "0.0.9")
    assert lost.beat_seconds > 300


def test_it_says_that_nothing_works(page: Client, settings: Any) -> None:
    there = conf().BROKER_URL
    configure(settings, BROKER_URL="redis://127.0.0.1:1/0")
    text = page.get("/staff/").content.decode()
    assert "The broker does not answer." in text
    assert "No worker is running" in text
    configure(settings, BROKER_URL=there)
    assert "The broker does not answer." not in page.get("/staff/").content.decode()


@pytest.fixture
def own_broker(settings: Any, tmp_path: Path) -> Iterator[redis.Redis]:
    """A broker of its own, which the test may break."""
    server = Valkey(tmp_path / "broker")
    process = server.start(dict(os.environ))
    try:
        server.wait(process)
        configure(settings, BROKER_URL=server.url)
        with redis.Redis.from_url(server.url) as client:
            yield client
    finally:
        child_process.stop([process], seconds=5)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), "command not allowed when used memory"),
        (("REPLICAOF", "127.0.0.1", "1"), "write against a read only replica"),
        (("ACL", "SETUSER", "default", "-@scripting"), "no permissions to run"),
    ],
)
def test_it_says_that_the_broker_refuses_and_with_which_words(
    page: Client, settings: Any, own_broker: redis.Redis, spoil: tuple[str, ...], says: str
) -> None:
    assert page.get("/staff/").context["broker"].state == "ok"
    own_broker.execute_command(*spoil)
    answer = page.get("/staff/")
    assert answer.context["broker"].state == "refuses"
    text = answer.content.decode()
    assert "The broker answers, but refuses what Taskyard asks of it." in text
    assert says in text
    assert ">refuses</span>" in text
    assert "does not answer" not in text
    page.cookies[settings.LANGUAGE_COOKIE_NAME] = "ru"
    in_russian = page.get("/staff/").content.decode()
    assert "Брокер отвечает, но отказывает" in in_russian


def test_it_names_paused_queues(page: Client) -> None:
    queues.pause("default", by_id=None)
    assert page.get("/staff/").context["paused"] == ["default"]


def test_a_script_is_given_only_the_part_that_moves(page: Client) -> None:
    part = page.get("/staff/", headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in part
    assert '<dl class="tiles">' in part
    assert 'id="now"' not in part
    assert 'id="now"' in page.get("/staff/").content.decode()


def test_what_slept_has_not_waited_since_it_was_made(
    page: Client, submit: Submit, fake_worker: FakeWorker
) -> None:
    task = submit()
    (claimed,) = fake_worker.claim()
    Task.objects.filter(pk=task.pk).update(created_at=timezone.now() - timedelta(hours=5))
    fake_worker.finish(claimed, Status.IN_PROGRESS, resumes=True)
    total = page.get("/staff/").context["total"]
    assert (total.waiting, total.oldest) == (1, None)


def test_its_questions_are_as_many_however_much_there_is(
    page: Client, submit: Submit, owner: User, fake_worker: FakeWorker
) -> None:
    page.get("/staff/")
    counts = []
    for _ in range(2):
        history(owner, 40)
        submit()
        history_stats.cache.clear()
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert page.get("/staff/").status_code == 200
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 16


def history(owner: User, many: int, *, status: Status = Status.COMPLETED, **fields: Any) -> None:
    """Create tasks that have ended, one per second, the last one now."""
    ended_at = timezone.now()
    Task.objects.bulk_create(
        Task(
            **{
                "owner": owner,
                "task_type": "sum",
                "queue": "default",
                "input_data": {},
                "status": status,
                "ready": False,
                "created_at": ended_at - timedelta(seconds=number + 4),
                "started_at": ended_at - timedelta(seconds=number + 1),
                "finished_at": ended_at - timedelta(seconds=number),
                "error_code": "no" if status == Status.ERROR else "",
                **fields,
            }
        )
        for number in reversed(range(many))
    )


def test_times_are_of_those_that_completed(owner: User) -> None:
    history(owner, 50)
    window = history_stats.history().hour
    assert window.waited.p50 == pytest.approx(3.0, abs=0.01)
    assert window.waited.p95 == pytest.approx(3.0, abs=0.01)
    assert window.ran.p95 == pytest.approx(1.0, abs=0.01)


def test_what_ended_long_ago_is_in_no_window(owner: User) -> None:
    history(owner, 3, finished_at=timezone.now() - timedelta(hours=2))
    history(owner, 4, status=Status.ERROR, finished_at=timezone.now() - timedelta(days=2))
    seen = history_stats.history()
    assert (sum(seen.hour.completed), sum(seen.day.completed)) == (0, 3)
    assert sum(seen.day.failed) == 0


@pytest.mark.parametrize("last", [0, 1, 7, 25_000, 1_000_000, 40_000_000])
def test_the_sample_stands_for_all_ids_and_is_small(last: int) -> None:
    sample = list(history_stats.sample_ids(last))
    ids = [task_id for task_id, _ in sample]
    assert len(set(ids)) == len(ids)
    assert all(0 < task_id <= last for task_id in ids)
    assert sum(weight for _, weight in sample) == pytest.approx(last, rel=0.01, abs=30)
    assert len(sample) <= history_stats.EXACT + 7 * history_stats.SAMPLE


def test_the_sample_meets_types_that_were_submitted_in_turn() -> None:
    """If types are submitted in turn, a fixed step would miss some of them."""
    for period in (2, 3, 4, 12):
        met = dict.fromkeys(range(period), 0)
        for task_id, weight in history_stats.sample_ids(1_000_000):
            met[task_id % period] += weight
        for weight in met.values():
            assert weight == pytest.approx(1_000_000 / period, rel=0.1)


def test_quantiles_weigh() -> None:
    assert history_stats.quantiles([]) == history_stats.Quantiles(None, None)
    assert history_stats.quantiles([(5.0, 1), (1.0, 99)]) == history_stats.Quantiles(1.0, 1.0)
    assert history_stats.quantiles([(1.0, 90), (5.0, 10)]) == history_stats.Quantiles(1.0, 5.0)


def test_bars_fill_the_picture_and_one_failure_is_seen() -> None:
    nothing = history_stats.Quantiles(None, None)
    window = history_stats.Window(
        length=history_stats.HOUR,
        until=datetime(2026, 1, 1, 12, tzinfo=UTC),
        completed=[0] * 58 + [1000, 500],
        failed=[0] * 58 + [1, 0],
        waited=nothing,
        ran=nothing,
    )
    chart = charts.draw(window)
    full, half = chart.bars[58:]
    assert chart.highest == 1001
    assert full.failed_height == 3.0
    assert full.completed_height + full.failed_height <= charts.HEIGHT
    assert half.completed_height == pytest.approx(50, abs=0.1)
    assert full.since == datetime(2026, 1, 1, 11, 58, tzinfo=UTC)
    assert charts.draw(
        history_stats.Window(**{**vars(window), "completed": [0] * 60, "failed": [0] * 60})
    )


def test_the_questions_about_history_have_their_index(owner: User) -> None:
    history(owner, 1_500)
    history(owner, 60, status=Status.ERROR)
    since = timezone.now() - timedelta(hours=1)
    with connection.cursor() as cursor:
        # Without statistics the planner would choose another plan.
        cursor.execute("ANALYZE taskyard_task")
    failures = Task.objects.failed().filter(status=Status.ERROR, finished_at__gte=since)
    assert "task_failed" in failures.order_by("-finished_at").explain()
    own = Task.objects.owned_by(owner.pk).with_status([Status.ERROR])
    # If only one user has failures, the planner may choose the index of all failures.
    assert re.search("task(_owner)?_failed", own.order_by("-id")[:10].explain())
    looked_up = Task.objects.filter(engine().id_in([1, 2, 3]))
    plan = looked_up.explain()
    assert "taskyard_task_pkey" in plan or "INTEGER PRIMARY KEY" in plan
