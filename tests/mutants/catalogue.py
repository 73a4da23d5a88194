"""The mutants: a place in the source, its replacement, and the promise that this breaks."""

from dataclasses import dataclass
from pathlib import Path

CORE = "src/taskyard/core"
WORKER = "src/taskyard/worker"
LIVE = "src/taskyard/live"


@dataclass(frozen=True)
class Mutant:
    """A replacement of ``old``, which is once in ``file``. ``tests`` run first.

    ``database`` is set if only one database uses the place.
    """

    name: str
    promise: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()
    database: str | None = None

    def apply(self, tree: Path) -> None:
        """Write the mutant into a copy of the tree. Raises ValueError if its place is gone."""
        path = tree / self.file
        source = path.read_text()
        if source.count(self.old) != 1:
            raise ValueError(f"{self.name}: not one place in {self.file}")
        path.write_text(source.replace(self.old, self.new))


def statement(
    name: str,
    promise: str,
    postgresql: tuple[str, str],
    sqlite: tuple[str, str],
    tests: tuple[str, ...] = ("tests/core",),
    file: str = f"{CORE}/engine/{{database}}.py",
) -> tuple[Mutant, Mutant]:
    """The same mutation of a statement, for each database."""
    places = {"postgresql": postgresql, "sqlite": sqlite}
    first, second = (
        Mutant(
            name=f"{name}-{database}",
            promise=promise,
            file=file.format(database=database),
            old=old,
            new=new,
            tests=tests,
            database=database,
        )
        for database, (old, new) in places.items()
    )
    return first, second


STATEMENTS = (
    *statement(
        "quota-by-one",
        "never more active tasks than the quota",
        ("<= COALESCE(active_limit, {limit})", "<= COALESCE(active_limit, {limit}) + 1"),
        ("<= COALESCE(active_limit, %(limit)s)", "<= COALESCE(active_limit, %(limit)s) + 1"),
    ),
    *statement(
        "own-limit-ignored",
        "staff's limit for a user counts",
        ("COALESCE(active_limit, {limit})", "{limit}"),
        ("COALESCE(active_limit, %(limit)s)", "%(limit)s"),
    ),
    *statement(
        "suspended-user-submits",
        "a suspended user's token opens nothing",
        ("AND is_active AND", "AND"),
        ("AND is_active\n        AND", "\n        AND"),
        ("tests/accounts",),
        "src/taskyard/accounts/proofs.py",
    ),
    *statement(
        "claim-without-fence",
        "each claim has a fence of its own",
        ("fence = fence + 1, attempt", "fence = fence, attempt"),
        ("fence = fence + 1, attempt", "fence = fence, attempt"),
    ),
    *statement(
        "claim-without-lease",
        "a worker without a lease is given no task",
        ("WHERE id = %(worker)s AND lease_until > now()", ""),
        ("WHERE id = %(worker)s AND lease_until > %(now)s", ""),
    ),
    *statement(
        "resume-charges-an-attempt",
        "a sleep costs no attempt",
        (
            "fence = fence + 1, attempt = attempt + CASE WHEN resumes THEN 0 ELSE 1 END",
            "fence = fence + 1, attempt = attempt + 1",
        ),
        (
            "fence = fence + 1, attempt = attempt + CASE WHEN resumes THEN 0 ELSE 1 END",
            "fence = fence + 1, attempt = attempt + 1",
        ),
    ),
    *statement(
        "any-fence-finishes",
        "a late attempt changes nothing",
        ("t.fence = r.fence AND t.status", "t.status"),
        ("fence = r.value ->> 'fence' AND status", "status"),
    ),
    *statement(
        "settle-with-any-fence",
        "a task run without a claim ends once",
        ("t.fence = r.fence - 1 AND t.ready", "t.ready"),
        ("fence = r.value ->> 'fence' - 1 AND ready", "ready"),
    ),
    *statement(
        "place-kept",
        "an end releases the quota place",
        ("active = a.active - owed.places", "active = a.active"),
        ("active = active - owed.places", "active = active"),
    ),
    *statement(
        "release-uncounted",
        "a list knows its length from the owner's counters",
        ("cancelled = a.cancelled + owed.cancelled", "cancelled = a.cancelled"),
        (
            "cancelled = taskyard_quota.cancelled + owed.cancelled",
            "cancelled = taskyard_quota.cancelled",
        ),
    ),
    *statement(
        "cancel-unseen-at-claim",
        "a task that was cancelled is not begun",
        ("cancel_requested_at IS NOT NULL", "false"),
        ("*(cancel_requested_at is not None,", "*(False,"),
    ),
    *statement(
        "lock-oldest-priority-last",
        "the fast path takes the highest priority first",
        (
            'owner_id, priority DESC, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED\n"',
            'owner_id, priority, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED\n"',
        ),
        (
            "    ORDER BY band DESC, owner_id, priority DESC, id LIMIT",
            "    ORDER BY band DESC, owner_id, priority, id LIMIT",
        ),
    ),
    *statement(
        "no-choice",
        "a user with many tasks does not go before others",
        (") OR (\n        SELECT (first.band", ") OR true OR (\n        SELECT (first.band"),
        ("if not (is_all or rows[0][3]):", "if False:"),
    ),
    *statement(
        "once-runs-unclaimed",
        "at most once with max_attempts=1: such a task is claimed",
        ("max_attempts = 1 OR resumes, (date", "resumes, (date"),
        ("max_attempts = 1 OR resumes, owner_id\n", "resumes, owner_id\n"),
    ),
    *statement(
        "future-is-ready",
        "a task does not run before its time",
        ("COALESCE({due} <= now(), true)", "true"),
        ("due IS NULL OR due <= %(now)s", "1"),
    ),
    *statement(
        "start-moves",
        "started_at is when the first attempt began",
        (
            "started_at = COALESCE(started_at, now()),\n        changed",
            "started_at = now(),\n        changed",
        ),
        (
            "started_at = COALESCE(started_at, %(now)s),\n    changed",
            "started_at = %(now)s,\n    changed",
        ),
    ),
    *statement(
        "end-untold",
        "a stream tells every end",
        (
            "changed = CASE WHEN r.status = 'in_progress' AND r.progress IS NULL THEN t.changed\n"
            "            ELSE",
            "changed = CASE WHEN true THEN t.changed\n            ELSE",
        ),
        (
            "changed = CASE WHEN r.value ->> 'status' = 'in_progress' AND "
            "r.value ->> 'progress' IS NULL\n        THEN changed",
            "changed = CASE WHEN 1\n        THEN changed",
        ),
        ("tests/live",),
    ),
)
LIFECYCLE = tuple(
    Mutant(name, promise, f"{CORE}/{module}.py", old, new, ("tests/core",))
    for module, name, promise, old, new in (
        (
            "lifecycle",
            "unproven-accepted",
            "a token of an older password submits nothing",
            "        raise Unproven\n",
            "        proof = None\n",
        ),
        (
            "lifecycle",
            "bulk-no-wakeup",
            "a worker is woken after a submit",
            "for (_, _, ready), task in zip(accepted, new, strict=True) if ready}",
            "for (_, _, ready), task in zip(accepted, new, strict=True) if not ready}",
        ),
        (
            "fair_order",
            "turn-for-free",
            "the owner who has taken a task is later next time",
            "seconds / self.weights.get(owner, 1.0)\n        heapq",
            "0 * seconds / self.weights.get(owner, 1.0)\n        heapq",
        ),
        (
            "fair_order",
            "weight-ignored",
            "an owner with a weight gets more seconds",
            "used = self._used[owner] + seconds / self.weights.get(owner, 1.0)",
            "used = self._used[owner] + seconds",
        ),
        (
            "fair_order",
            "newcomer-first",
            "an owner who comes has no credit",
            "counted.get(owner, floor) + running",
            "counted.get(owner, 0.0) + running",
        ),
        (
            "fair_order",
            "floor-of-all",
            "an owner who waits in vain lets no newcomer go before all others",
            "lately = [used[owner] for owner in served if owner in used]",
            "lately = list(used.values())",
        ),
        (
            "fair_order",
            "floor-goes-back",
            "the virtual time of a queue never goes back",
            "else max(before, min(lately))",
            "else min(lately)",
        ),
        (
            "fair_queue",
            "running-for-free",
            "a running task counts while it runs",
            "running=_running(queue),",
            "running={},",
        ),
        (
            "fair_queue",
            "used-unnoted",
            "seconds that were run count",
            "        _used[of] += seconds\n",
            "        _used[of] += 0.0\n",
        ),
        (
            "fair_queue",
            "waited-for-credit",
            "an owner who waits in vain saves nothing",
            "shares.filter(id__in=behind.free()).update(seconds=floor)",
            "behind.free()",
        ),
        (
            "fair_queue",
            "ahead-forgotten",
            "an owner with one task after the other does not begin anew each time",
            "at_floor = shares.filter(seconds__lte=floor)",
            "at_floor = shares.filter(queue=queue)",
        ),
        (
            "fair_queue",
            "first-owners-only",
            "of very many owners all are served",
            "after = _last_seen.pop(queue, None)",
            "after = None",
        ),
        (
            "lifecycle",
            "band-for-ever",
            "a retry jumps the queue no more than a submit",
            "band=band_for(task.task_type, task.priority),",
            "band=task.band,",
        ),
        (
            "fair_queue",
            "owner-dropped",
            "an owner who was not asked keeps the place",
            "if owner in seconds or place > last:",
            "if owner in seconds:",
        ),
        (
            "lifecycle",
            "fast-path-beyond-batch_sizes",
            "a type that must be claimed stops the fast path",
            "fits = min(fits, 0 if row.must_be_claimed else batch_sizes[row.task.task_type])",
            "fits = min(fits, batch_sizes[row.task.task_type])",
        ),
        (
            "lifecycle",
            "no-own-up",
            "a task whose process died on the fast path costs an attempt",
            "            _claim_locked(row, fence, worker_id=worker_id, process=process)\n",
            "            pass\n",
        ),
        (
            "lifecycle",
            "own-up-of-another-fence",
            "a task is claimed for a dead process only if it was that process's",
            "if task.ready and task.fence == fence - 1:",
            "if task.ready:",
        ),
        (
            "transitions",
            "sleeper-not-cancelled",
            "a task that is asked to stop while it ends an attempt is cancelled",
            "        if active:\n",
            "        if False:\n",
        ),
        (
            "lifecycle",
            "report-any-fence",
            "progress of a late attempt is not kept",
            "    held = Task.objects.held_by_attempt(task.id, task.fence)\n    if progress",
            "    held = Task.objects.filter(id=task.id)\n    if progress",
        ),
        (
            "lifecycle",
            "checkpoint-any-fence",
            "a checkpoint of a late attempt is not kept",
            "    held = Task.objects.held_by_attempt(task.id, task.fence)\n    with",
            "    held = Task.objects.filter(id=task.id)\n    with",
        ),
        (
            "lifecycle",
            "terminal-cancelled",
            "a terminal state never changes",
            "        if task.status in TERMINAL:\n            raise NotCancellable",
            "        if False:\n            raise NotCancellable",
        ),
        (
            "lifecycle",
            "completed-retried",
            "only what failed or was cancelled is retried",
            "    if task.status not in (Status.ERROR, Status.CANCELLED):",
            "    if task.status not in (*TERMINAL,):",
        ),
        (
            "lifecycle",
            "retry-without-origin",
            "a retry names the task that it repeats",
            "                retry_of_id=task.id,\n",
            "",
        ),
        (
            "lifecycle",
            "wake-without-readying",
            "a task whose time has come runs",
            ".update(ready=True, wake_at=None)\n    return set(chosen",
            ".none().update(ready=True, wake_at=None)\n    return set(chosen",
        ),
        (
            "transitions",
            "end-keeps-the-place",
            "a rescue that ends a task, and a cancel, release its place",
            "    engine().release([(owner_id, status) for owner_id in owner_ids.values()])\n",
            "",
        ),
        (
            "transitions",
            "cancel-unannounced",
            "a stream shows every cancel",
            "    _announce((owner_id, task_id, status)"
            " for task_id, owner_id in owner_ids.items())\n",
            "",
        ),
        (
            "lifecycle",
            "rescue-forgets-attempts",
            "a lost attempt counts",
            "attempts_left=task.attempt < task.max_attempts",
            "attempts_left=True",
        ),
        (
            "lifecycle",
            "rescue-ignores-cancel",
            "a cancelled task is not run again after a rescue",
            "cancelling=task.cancel_requested_at is not None",
            "cancelling=False",
        ),
        (
            "transitions",
            "lost-unrecorded",
            "a lost attempt stands in the history",
            "        history.record_lost(tasks, decision.code)\n",
            "        pass\n",
        ),
        (
            "lifecycle",
            "cancel-of-a-running-task-at-once",
            "a running task is asked to stop, not cancelled under its handler",
            "{task.id: task.owner_id for task in tasks if task.worker_id is None}",
            "{task.id: task.owner_id for task in tasks}",
        ),
    )
)
RECORD = (
    Mutant(
        "duration-counted-twice",
        "two scrapes at once count a task once",
        f"{CORE}/durations.py",
        "if not found.filter(cursor=since).update(cursor=until):",
        "if not found.update(cursor=until):",
        ("tests/core/test_durations.py",),
    ),
    Mutant(
        "waits-from-creation",
        "a task that is due later has not waited before",
        f"{CORE}/durations.py",
        'Coalesce("run_at", "created_at")',
        '"created_at"',
        ("tests/core/test_durations.py",),
    ),
    Mutant(
        "bound-excluded",
        "a bound belongs to its bucket",
        f"{CORE}/durations.py",
        'f"{name}__lte": bound',
        'f"{name}__lt": bound',
        ("tests/core/test_durations.py",),
    ),
    Mutant(
        "late-commit-uncounted",
        "a transaction that was numbered early and committed late is counted",
        f"{CORE}/engine/postgresql.py",
        'oldest, beyond = int(since.split(":")[0])',
        'oldest, beyond = int(since.split(":")[1])',
        ("tests/core/test_durations.py",),
        "postgresql",
    ),
    Mutant(
        "everybody-sees",
        "another's task is not there",
        f"{CORE}/querysets.py",
        "return self.none() if user_id is None else self.filter(owner_id=user_id)",
        "return self.all()",
        ("tests/api/test_list.py", "tests/live/test_changes.py"),
    ),
    Mutant(
        "no-user-owns-the-system-tasks",
        "another's task is not there",
        f"{CORE}/querysets.py",
        "return self.none() if user_id is None else self.filter(owner_id=user_id)",
        "return self.filter(owner_id=user_id)",
        ("tests/core/test_system_tasks.py",),
    ),
    Mutant(
        "system-tasks-are-not-retried",
        "a retry of many retries every failed task that its owner has a place for",
        f"{CORE}/bulk.py",
        "Q(owner_id__in=with_place) | Q(owner=None)",
        "Q(owner_id__in=with_place)",
        ("tests/core/test_system_tasks.py",),
    ),
    Mutant(
        "everybody-reads-one",
        "another's task is not there",
        f"{CORE}/querysets.py",
        "WHERE owner_id = %s AND id = %s",
        "WHERE owner_id = owner_id + 0 * %s AND id = %s",
        ("tests/api/test_detail.py",),
    ),
    Mutant(
        "woken-early",
        "a task does not run before its time",
        f"{CORE}/querysets.py",
        "self.filter(wake_at__lte=Now())",
        "self.filter(wake_at__lte=Now() + timedelta(seconds=0.7))",
        ("tests/core", "tests/worker"),
    ),
    Mutant(
        "no-rescue-of-slept",
        "a suspended task whose process died goes on",
        f"{CORE}/querysets.py",
        "held = self.filter(worker_id__isnull=False)",
        "held = self.filter(worker_id__isnull=False, slept=0)",
        ("tests/core/test_lifecycle.py",),
    ),
    Mutant(
        "grace-forgotten",
        "a running task has time to stop",
        f"{CORE}/querysets.py",
        "limit = Now() - timedelta(seconds=grace_seconds)",
        "limit = Now()",
        ("tests/core/test_cancel.py",),
    ),
    Mutant(
        "own-processes-dropped",
        "a process that lives keeps its tasks",
        f"{CORE}/querysets.py",
        ".exclude(process__in=list(alive))",
        "",
        ("tests/core", "tests/worker"),
    ),
    Mutant(
        "dead-leases-alive",
        "a killed worker's tasks run again",
        f"{CORE}/querysets.py",
        "self.filter(lease_until__gt=Now())",
        "self.all()",
        ("tests/core", "tests/worker"),
    ),
    Mutant(
        "key-of-everybody",
        "an idempotency key is its owner's",
        f"{CORE}/idempotency.py",
        "filter(owner_id=owner_id, key=key)",
        "filter(key=key)",
        ("tests/core/test_idempotency.py", "tests/api/test_idempotency.py"),
    ),
    Mutant(
        "key-for-any-body",
        "a key with another body is refused",
        f"{CORE}/idempotency.py",
        "if known.fingerprint != fingerprint:",
        "if False:",
        ("tests/core/test_idempotency.py", "tests/api/test_idempotency.py"),
    ),
    Mutant(
        "key-for-ever",
        "a key is kept for 24 hours",
        f"{CORE}/idempotency.py",
        "        mine.filter(created_at__lt=Now() - KEPT).delete()\n",
        "",
        ("tests/core/test_idempotency.py", "tests/api/test_idempotency.py"),
    ),
    Mutant(
        "active-deleted",
        "an active task cannot be deleted",
        f"{CORE}/deletion.py",
        "filter(id=task.id).ended()",
        "filter(id=task.id)",
        ("tests/core/test_deletion.py", "tests/api/test_retry_and_delete.py"),
    ),
    Mutant(
        "young-purged",
        "a purge deletes what is older than its days only",
        f"{CORE}/deletion.py",
        "finished_at__lt=oldest_kept",
        "finished_at__isnull=False",
        ("tests/core/test_deletion.py",),
    ),
    Mutant(
        "lines-without-limit",
        "a task keeps a thousand lines",
        f"{CORE}/history.py",
        "lines[: max(0, LINES_KEPT - kept)]",
        "lines",
        ("tests/core/test_queues_and_history.py",),
    ),
)
STREAMS = (
    Mutant(
        "stream-of-everybody",
        "a stream tells its owner's tasks only",
        f"{LIVE}/changes.py",
        "Task.objects.owned_by(owner_id).filter(id__gt=before.upto)",
        "Task.objects.filter(id__gt=before.upto)",
        ("tests/live",),
    ),
    Mutant(
        "stream-skips-a-page",
        "a reader who is cut in the middle of a page misses nothing",
        f"{LIVE}/changes.py",
        "after = Position(before.since, before.until, rows[-1].pk)",
        "after = Position(before.until)",
        ("tests/live",),
    ),
    Mutant(
        "running-transactions-told",
        "a change that commits late is told",
        f"{LIVE}/changes.py",
        "and str(changed) not in running",
        "",
        ("tests/live",),
        "postgresql",
    ),
    Mutant(
        "no-poll",
        "a lost hint delays a stream, and loses nothing",
        f"{LIVE}/hub.py",
        "if not all(has_seen(change) for change in owner_changes):"
        "\n                    callback(None)",
        "pass",
        ("tests/live",),
    ),
    Mutant(
        "ended-for-ever",
        "the stream of one task ends after its terminal state",
        f"{LIVE}/changes.py",
        "return not self.after.until",
        "return False",
        ("tests/live",),
    ),
)
WORKERS = (
    Mutant(
        "waits-for-the-busy",
        "one owner's locked account makes nobody else wait",
        f"{CORE}/busy.py",
        "select_for_update(skip_locked=True)",
        "select_for_update()",
        ("tests/core/test_locked_owner.py",),
        "postgresql",
    ),
    Mutant(
        "busy-never-met",
        "who submits without a pause is rescued too",
        f"{CORE}/busy.py",
        "    if busy:\n        owner_id",
        "    if False:\n        owner_id",
        ("tests/core/test_locked_owner.py",),
        "postgresql",
    ),
    Mutant(
        "early-alarm-lost",
        "a timeout ends a handler, however short it is",
        f"{WORKER}/timer.py",
        "        _raise_if_due()  # the alarm may have come already\n",
        "",
        ("tests/worker/test_attempts.py",),
    ),
    Mutant(
        "evidence-forgotten",
        "a task that was killed for its timeout is not run again, however late it is rescued",
        f"{WORKER}/watchdog.py",
        "if gone or self._killed:",
        "if False:",
        ("tests/worker/test_deaths.py",),
        "postgresql",
    ),
    Mutant(
        "late-death-uncharged",
        "an attempt that killed its process counts, however late that is noticed",
        f"{CORE}/lifecycle.py",
        "elif charged and task.fence >= fence",
        "elif False and task.fence >= fence",
        ("tests/core/test_run_locked.py",),
    ),
    Mutant(
        "gone-lease-revived",
        "a lease that is gone is never made again under its id",
        f"{CORE}/leases.py",
        "return bool(Worker.objects.filter(id=worker_id).update(lease_until=_expiry()))",
        "return True",
        ("tests/core/test_queues_and_history.py",),
    ),
    Mutant(
        "clones-buried",
        "who is dead is proven, on this start of this machine",
        f"{CORE}/presence.py",
        "if (found.database, found.boot) != (_installation(), _boot()):",
        "if found.database != _installation():",
        ("tests/core/test_presence.py",),
    ),
    Mutant(
        "living-buried",
        "a worker beside another that starts keeps its lease",
        f"{CORE}/presence.py",
        "if found is not None and found.boot and not found.alive:",
        "if found is not None and found.boot:",
        ("tests/core/test_presence.py",),
    ),
    Mutant(
        "once-uncharged",
        "at most once with max_attempts=1, also claimed with a poison",
        f"{WORKER}/watchdog.py",
        "if task.max_attempts > 1 and not self._runs(task):",
        "if not self._runs(task):",
        ("tests/worker/test_deaths.py",),
    ),
    Mutant(
        "once-handed-back",
        "at most once with max_attempts=1, also when it outlasts a drain",
        f"{WORKER}/watchdog.py",
        "return LossReason.LOST if why is LossReason.UNCHARGED and task.max_attempts == 1 else why",
        "return why",
        ("tests/worker/test_deaths.py",),
    ),
    Mutant(
        "no-cut-off",
        "a worker whose lease ran out stops its tasks",
        f"{WORKER}/watchdog.py",
        "            self._beaten_at = asked_at\n            self._kill_running()\n",
        "            self._beaten_at = asked_at\n",
        ("tests/worker/test_deaths.py",),
    ),
    Mutant(
        "no-look",
        "work that nobody was woken for is found",
        f"{WORKER}/watchdog.py",
        "            self._consumer.hand(queue, count)\n",
        "            pass\n",
        ("tests/worker/test_outages.py",),
    ),
    Mutant(
        "paused-looked-at",
        "no process is set to work at a paused queue",
        f"{WORKER}/maintenance.py",
        "if queue not in closed\n",
        "if True\n",
        ("tests/worker/test_wakeup.py",),
    ),
    Mutant(
        "listens-when-cut-off",
        "a worker that cannot reach the database takes no messages",
        f"{WORKER}/celery_consumer.py",
        '            raise CutOff("the database is away")',
        "            pass",
        ("tests/worker/test_outages.py",),
        "postgresql",
    ),
    Mutant(
        "ends-with-zero",
        "an end that nobody asked for is not a success",
        f"{WORKER}/celery_signals.py",
        "if not _is_exit_code(state.should_stop)",
        "if False and not _is_exit_code(state.should_stop)",
        ("tests/worker/test_deaths.py",),
    ),
)
MUTANTS: tuple[Mutant, ...] = (*STATEMENTS, *LIFECYCLE, *RECORD, *STREAMS, *WORKERS)
