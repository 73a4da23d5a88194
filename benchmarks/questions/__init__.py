"""The questions, in the order of the table."""

from benchmarks.questions import (
    bulk,
    create,
    drains,
    end_to_end,
    fairness,
    history,
    idle,
    keys,
    latency,
    slope,
    sqlite,
    wakeups,
)
from benchmarks.table import Ask

QUESTIONS: dict[str, Ask] = {
    "create": create.ask,
    "keys": keys.ask,
    "end-to-end": end_to_end.ask,
    "drain": drains.ask,
    "bulk": bulk.ask,
    "latency": latency.ask,
    "history": history.ask,
    "fairness": fairness.ask,
    "wake-ups": wakeups.ask,
    "idle": idle.ask,
    "sqlite": sqlite.ask,
    "slope": slope.ask,
}
