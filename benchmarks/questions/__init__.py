"""What is asked, in the order of the table."""

from benchmarks.questions import bulk, create, drains, end_to_end, latency
from benchmarks.table import Ask

QUESTIONS: dict[str, Ask] = {
    "create": create.ask,
    "end-to-end": end_to_end.ask,
    "drain": drains.ask,
    "bulk": bulk.ask,
    "latency": latency.ask,
}
