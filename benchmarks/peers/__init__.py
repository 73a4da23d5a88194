"""The peers: other systems that a user may choose, each with the same backlog and the same clock.

`PEERS` has them by name; `ordinary/served.py` has those that also have a web.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata

import redis

from benchmarks.peers import node
from benchmarks.peers.backlog import Command, Program, drain, python
from benchmarks.peers.ordinary.served import DRAINED, FORMS
from benchmarks.peers.stage import Stage, rows


@dataclass(frozen=True)
class Peer:
    """`drain` processes a backlog of `count` sums and returns tasks a second."""

    name: str
    version: str
    setting: str
    keeps_result: bool
    drain: Callable[[Stage, int], float]


def _peer(name: str, version: str, setting: str, program: Program) -> Peer:
    return Peer(
        name=name,
        version=version,
        setting=setting,
        keeps_result=program.kept is not None,
        drain=partial(drain, program),
    )


def _module(name: str, verb: str) -> Command:
    return python(f"benchmarks.peers.{name}", verb)


def _node(name: str, verb: str) -> Command:
    return (node.PROGRAM, str(node.HERE / f"{name}.js"), verb)


def _in_redis(counting: Callable[["redis.Redis"], int]) -> Callable[[Stage], int]:
    def left(stage: Stage) -> int:
        with redis.Redis.from_url(stage.redis) as client:
            return counting(client)

    return left


def _in_postgresql(counting: str) -> Callable[[Stage], int]:
    return lambda stage: rows(stage, counting)


def _unread_and_unacknowledged(client: "redis.Redis") -> int:
    (group,) = client.xinfo_groups("taskiq")
    return int(group["lag"] or 0) + int(group["pending"])


def _peers() -> list[Peer]:
    return [
        *(
            _peer(
                name,
                f"Django {metadata.version('django')}, Celery {metadata.version('celery')}",
                FORMS[name].setting,
                FORMS[name].program,
            )
            for name in DRAINED
        ),
        _peer(
            "celery",
            metadata.version("celery"),
            "prefork, 2 processes, acknowledged early, prefetch 4, no database",
            Program(
                fill=_module("raw_celery", "fill"),
                work=python(
                    "celery",
                    *("-A", "benchmarks.peers.raw_celery", "worker", "-c", "2", "-l", "warning"),
                    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
                ),
                left=_in_redis(lambda client: client.llen("celery") + client.hlen("unacked")),
                copies=1,
                gated=False,
            ),
        ),
        _peer(
            "pgqueuer",
            metadata.version("pgqueuer"),
            "asyncpg, batch_size 500, durable tables, its autovacuum settings, 2 processes",
            Program(
                fill=_module("pgqueuer", "fill"),
                work=_module("pgqueuer", "work"),
                left=_in_postgresql("SELECT count(*) FROM pgqueuer"),
            ),
        ),
        _peer(
            "procrastinate",
            metadata.version("procrastinate"),
            "psycopg, concurrency 5, jobs kept, 2 processes",
            Program(
                fill=_module("procrastinate", "fill"),
                work=_module("procrastinate", "work"),
                left=_in_postgresql(
                    "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
                ),
            ),
        ),
        _peer(
            "dramatiq",
            metadata.version("dramatiq"),
            "Redis, prefetch 1,000, results in Redis, 2 processes of 2 threads",
            Program(
                fill=_module("dramatiq", "fill"),
                work=python(
                    "dramatiq",
                    *("benchmarks.peers.dramatiq", "--processes", "2", "--threads", "2"),
                ),
                left=_in_redis(lambda client: client.hlen("dramatiq:default.msgs")),
                kept=_module("dramatiq", "kept"),
                copies=1,
                gated=False,
                # By default a process would fetch four messages (twice its threads) a round trip.
                environment=(("dramatiq_queue_prefetch", "1000"),),
            ),
        ),
        _peer(
            "saq",
            metadata.version("saq"),
            "Redis, hiredis, concurrency 20, results kept, 2 processes",
            Program(
                fill=_module("saq", "fill"),
                work=_module("saq", "work"),
                left=_in_redis(lambda client: client.zcard("saq:bench:incomplete")),
                kept=_module("saq", "kept"),
            ),
        ),
        _peer(
            "taskiq",
            f"{metadata.version('taskiq')}, taskiq-redis {metadata.version('taskiq-redis')}",
            "Redis stream, acknowledged, results in Redis, 2 processes",
            Program(
                fill=_module("taskiq", "fill"),
                work=python(
                    "taskiq",
                    *("worker", "benchmarks.peers.taskiq:broker", "--workers", "2"),
                    *("--log-level", "WARNING", "--no-parse"),
                ),
                left=_in_redis(_unread_and_unacknowledged),
                kept=_module("taskiq", "kept"),
                copies=1,
                gated=False,
            ),
        ),
        _peer(
            "bullmq",
            node.version("bullmq"),
            "Redis, ioredis, concurrency 100, return values kept, 2 processes",
            Program(
                fill=_node("bullmq", "fill"),
                work=_node("bullmq", "work"),
                left=_in_redis(
                    lambda client: client.llen("bull:bench:wait") + client.llen("bull:bench:active")
                ),
                kept=_node("bullmq", "kept"),
            ),
        ),
        _peer(
            "graphile-worker",
            node.version("graphile-worker"),
            "concurrentJobs 24, localQueue 500, completions batched, 2 processes",
            Program(
                fill=_node("graphile", "fill"),
                work=_node("graphile", "work"),
                left=_in_postgresql("SELECT count(*) FROM graphile_worker._private_jobs"),
            ),
        ),
    ]


PEERS: dict[str, Peer] = {peer.name: peer for peer in _peers()}
